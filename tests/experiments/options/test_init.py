"""`--init.from` and what starts from it: weights of other frameworks, evaluation."""

import hashlib
import sys
import types

import jax
import jax.numpy as jnp
import pytest

from dst_jax import models, train
from dst_jax.models import export
from dst_jax.models.torch import packages
from dst_jax.models.torch.layout import layout_of
from dst_jax.runs import Run
from experiments import evaluate, mnist_lenet5
from experiments.options import Config, DataOptions, InitOptions, ModelOptions
from experiments.running.launch import main

DIGITS = [
    *("--model.name", "lenet5", "--data.name", "digits", "--data.image-size", "28"),
    *("--data.eval-batch-size", "120", "--data.batch-size", "64"),
]


NO_STAGE = ["--run.stages", "--run.no-control"]


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


@pytest.mark.slow
def test_a_package_of_weights_begins_with_a_new_head(torch, tmp_path, monkeypatch):
    leaves = layout_of("mlp", hidden=(8,), num_classes=7).leaves
    theirs = {name: torch.rand(leaf.torch_shape) for name, leaf in leaves.items()}
    file = tmp_path / "own_weights" / "w.pth"
    file.parent.mkdir()
    torch.save(theirs, file, _use_new_zipfile_serialization=False)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.syspath_prepend(tmp_path)
    own = packages.PACKAGES["efficientnet_lite0"]._replace(
        distribution="own_weights", file="w.pth", sha256=digest, network="mlp"
    )
    monkeypatch.setitem(packages.PACKAGES, "own", own)
    config = Config(
        data=DataOptions(image_size=28),
        model=ModelOptions("mlp", options=("hidden=8,",)),
        init=InitOptions("pip:own"),
    )
    context = config.context(Run(tmp_path / "run"), train.Console(quiet=True))
    with pytest.raises(
        ValueError, match=r"num_classes=7 fits, .* \(or give new_head\)"
    ):
        config.init.network(config, context)
    init = InitOptions("pip:own", new_head=True)
    init.check(config)
    init.rehearse(config)
    params = init.network(config, context).params
    fresh = context.fresh_weights().params
    assert (params["fc1"]["kernel"] == theirs["fc1.weight"].numpy().T).all()
    assert (params["fc2"]["kernel"] == fresh["fc2"]["kernel"]).all()
    assert params["fc2"]["bias"].shape == (10,)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--init.from", "pip:efficientnet"], "did you mean 'efficientnet_lite0'"),
        (["--init.from", "pip:"], "pip:NAME must be one of ('efficientnet_lite0',)"),
        (
            ["--init.from", "pip:efficientnet_lite0"],
            "is for --model.name efficientnet_lite0, got lenet5",
        ),
        (["--init.from", ".", "--init.new-head"], "--init.new_head is for --init.from"),
        (["--init.new-head"], "NAME or pip:NAME, got None"),
        (
            ["--init.from", "pip:efficientnet_lite0", "--init.new-head", *NO_STAGE],
            "needs a stage of --run.stages that trains it",
        ),
    ],
)
def test_packages_and_new_heads_that_do_not_fit_are_refused(argv, message, capsys):
    assert main("mnist", mnist_lenet5.PRESETS, doc="", argv=argv) == 2
    assert message in capsys.readouterr().err


def test_a_package_that_is_missing_is_said_with_the_command(monkeypatch, tmp_path):
    own = packages.PACKAGES["efficientnet_lite0"]
    missing = own._replace(distribution="not_on_this_machine", network="mlp")
    monkeypatch.setitem(packages.PACKAGES, "missing", missing)
    init = InitOptions("pip:missing")
    config = Config(model=ModelOptions("mlp"), init=init)
    context = config.context(Run(tmp_path / "run"), train.Console(quiet=True))
    with pytest.raises(ValueError, match="pip install not_on_this_machine"):
        init.network(config, context)


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
