"""`--init.from` and what starts from it: weights of other frameworks, evaluation."""

import sys
import types

import jax
import jax.numpy as jnp
import pytest

from dst_jax import models
from dst_jax.models import export
from dst_jax.runs import Run
from experiments import evaluate
from experiments.running.launch import main

DIGITS = [
    *("--model.name", "lenet5", "--data.name", "digits", "--data.image-size", "28"),
    *("--data.eval-batch-size", "120", "--data.batch-size", "64"),
]


def _evaluate(tmp_path, source, *more):
    argv = ["--init.from", str(source), "--run.dir", str(tmp_path / "run"), *DIGITS]
    return main("evaluate", evaluate.PRESETS, doc="", argv=[*argv, *more])


@pytest.fixture(scope="module")
def variables():
    model = models.create("lenet5", num_classes=10)
    return model.init(jax.random.key(3), jnp.zeros((1, 28, 28, 1)))


@pytest.mark.slow
def test_a_file_of_weights_is_evaluated(variables, tmp_path, capsys):
    path = tmp_path / "weights.safetensors"
    export.save_safetensors(path, "lenet5", variables)
    assert _evaluate(tmp_path, path, "--run.accelerators", "dense") == 0
    run = Run(tmp_path / "run")
    row = run.read_stage("initial")
    assert row["epochs"] == 0
    assert 0 < row["top1"] < 0.5  # random weights
    assert row["flops_drop"]["dense"] > 0
    assert f"{100 * row['top1']:.2f}" in capsys.readouterr().out
    found = run.read_accelerators("initial")["machines"]["dense"]
    assert list(found["layers"]) == list(row["layers"]["counts"])
    assert found["total"]["cycles"]["total"] > 0


@pytest.mark.slow
def test_weights_that_do_not_fit_are_refused(variables, tmp_path, capsys):
    path = tmp_path / "weights.safetensors"
    export.save_safetensors(path, "lenet5", variables)
    assert _evaluate(tmp_path, path, "--model.name", "mlp") == 2
    said = capsys.readouterr().err
    assert "do not fit mlp" in said
    assert "fc3.weight is (10, 84), must be (10, 100)" in said


@pytest.mark.slow
def test_torchvision_is_asked_for_the_weights_of_the_paper(
    variables, tmp_path, monkeypatch
):
    """Where torchvision cannot be installed, a stand-in with its interface."""
    asked = []

    class Net:
        def __init__(self, tensors):
            self.tensors = tensors

        def eval(self):
            return self

        def state_dict(self):
            return self.tensors

        def modules(self):
            return []

        def named_modules(self):
            return []

    def get_model(name, weights):
        asked.append((name, weights))
        return Net(export.state_dict("lenet5", variables))

    fake = types.ModuleType("torchvision")
    fake.models = types.SimpleNamespace(get_model=get_model)
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    assert _evaluate(tmp_path, "torchvision:lenet5") == 0
    assert asked == [("lenet5", "IMAGENET1K_V1")]


def test_without_torchvision_or_network_the_error_says_what_to_do(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert _evaluate(tmp_path, "torchvision:resnet18") == 2
    assert "pip install torch torchvision" in capsys.readouterr().err

    def offline(name, weights):
        raise OSError("no route to host")

    fake = types.ModuleType("torchvision")
    fake.models = types.SimpleNamespace(get_model=offline)
    monkeypatch.setitem(sys.modules, "torchvision", fake)
    assert _evaluate(tmp_path, "torchvision:resnet18") == 2
    assert "fetch them where there is a network" in capsys.readouterr().err
