"""The files of this directory are imported as a user's are: by their bare names."""

import sys
from pathlib import Path

import pytest

from experiments import mnist_lenet5
from experiments.running.launch import main

HERE = Path(__file__).parent
OPTIONS = [
    *("--data.name", "my_data_set:stripes", "--data.batch-size", "32"),
    *("--data.eval-batch-size", "32", "--run.log-every", "1", "--run.no-control"),
    *("--model.name", "my_model:Net", "--model.options", "units=12"),
    *("--task.name", "my_task:LeastSquares", "--task.options", "high=0.9"),
    *("--prune.method", "my_method:lottery", "--prune.sparsity", "0.5"),
    *("--prune.method-options", "drop=my_score:smallest_square", "at=1ep"),
    *("--prune.induce-epochs", "1", "--prune.finetune-epochs", "1"),
    *("--activation.penalty", "my_penalty:huber", "--activation.options", "delta=0.2"),
    *("--activation.epochs", "1", "--activation.strength", "0.01"),
    *("--stage.options", "sparsity=0.75", "--stage.epochs", "1"),
    *("--run.accelerators", "my_accelerator:ZeroSkipper", "--pretrain.epochs", "1"),
    *("--run.stages", "pretrain", "sparsify_weights", "sparsify_activations"),
    "my_stage:shrink",
]


@pytest.fixture(scope="package", autouse=True)
def importable():
    """As if the commands were started in this directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield
    for path in HERE.glob("my_*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture(scope="package")
def command():
    """The command that has all that these files add; further options win."""

    def run(directory, *more):
        argv = ["--run.dir", str(directory), *OPTIONS, *more]
        return main("mnist_lenet5", mnist_lenet5.PRESETS, doc="", argv=argv)

    return run
