"""What an option may be once the steps and the model are known."""

import pytest

from experiments import mnist_lenet5
from experiments.options import OptimOptions
from experiments.running.launch import main

SMALL = [
    *("--data.name", "digits", "--data.image-size", "16", "--model.name", "mlp"),
    *("--model.options", "hidden=8,", "--run.no-control"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--optim.accumulate", "1000", "--pretrain.epochs", "0.5"],
            "stage pretrain: --optim.accumulate must be at most the 4 steps of the"
            " stage, got 1000: it would never update",
        ),
        (
            ["--activation.layers", "relu1=2", "rellu=3"],
            "stage sparsify_activations: layers of a term over maps: rule 'rellu'",
        ),
        (
            ["--activation.epochs", "0.01"],
            "stage sparsify_activations: epochs must be 0, or 1 to",
        ),
    ],
)
def test_it_is_refused_before_anything_is_trained(
    argv, message, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("dst_jax.train.pipeline.run_stage", None)
    argv = [*SMALL, *argv, "--run.dir", str(tmp_path / "run")]
    assert main("mnist_lenet5", mnist_lenet5.PRESETS, doc="", argv=argv) == 2
    assert message in capsys.readouterr().err


def test_a_stage_without_steps_accumulates_nothing():
    build = OptimOptions(accumulate=1000).optimizer(lr=0.1)
    for steps in (0, 1000):
        made = build(steps=steps, steps_per_epoch=8, mask=None, seed=0)
        assert hasattr(made, "update")
