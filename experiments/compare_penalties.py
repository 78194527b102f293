"""Penalties on activation maps side by side, at matched accuracy and over seeds.

For every seed a baseline is trained, and from it the dense control and a cell for each
setting of the grid. The strength of each penalty is chosen on the hold-out; the test
set is read once, for the chosen cells. The same command continues a comparison that
was stopped, and more seeds or settings can be added to a finished one. Processes may
train a seed each in one directory (--no-test --seeds N); the command with all seeds
then chooses, tests and reports.

COMMAND
  python -m experiments.compare_penalties                     LeNet5, MNIST
  python -m experiments.compare_penalties --preset cifar100   narrow ResNet-20, 16 px
  python -m experiments.compare_penalties --preset demo       bundled digits

HARDWARE, TIME, RESULT (top-1 / activation sparsity, %)
  full: one hour of one CPU core a seed: Transformed l1 99.41 / 86.54, control 99.47 /
  63.72, log-sum with FATReLUs 99.34 / 90.93; all of it in docs/penalties.md
  the paper: Transformed l1 99.39 / 85.99, baseline 99.27 / 41.95
  cifar100: 40 minutes of one core a seed: l1 36.89 / 37.53, control 36.96 / 34.08

WRITES
  DIR/cells.jsonl   the hold-out on every cell, a line each
  DIR/test.jsonl    the test set on the chosen ones
  DIR/report.html, DIR/report.md, DIR/figures/
"""

import sys
from dataclasses import replace

from experiments.grid.launch import main
from experiments.grid.penalties.options import CellOptions, PenaltyGrid
from experiments.options import DataOptions, ModelOptions, OptimOptions, PretrainOptions

_FULL = PenaltyGrid(
    grid=(
        "transformed_l1 strength=2e-5,5e-5,1e-4 a=1",
        "l1 strength=5e-5,1e-4",
        "hoyer_square strength=1e-4",
        "log_sum strength=2e-5",
        "mcp strength=1e-4",
        "laplace strength=1e-4",
        "transformed_l1 strength=1e-4 a=0.1,10",
    ),
    fatrelu=(0.05,),
    data=DataOptions(
        name="mnist", batch_size=128, eval_batch_size=500, augment=("affine",)
    ),
    model=ModelOptions(name="lenet5"),
    optim=OptimOptions(weight_decay=5e-4),
    pretrain=PretrainOptions(epochs=30, lr=0.05),
    cells=CellOptions(epochs=15, lr=0.02),
)
# A network with batch normalisation on photographs.
_CIFAR100 = PenaltyGrid(
    preset="cifar100",
    grid=(
        "transformed_l1 strength=1e-5,3e-5,6e-5 a=1",
        "l1 strength=7e-6,2e-5,4e-5",
        "hoyer_square strength=1.5e-5,5e-5,1e-4",
        "log_sum strength=3e-6,1e-5,2.5e-5",
    ),
    seeds=(0, 1),
    data=DataOptions(
        name="cifar100", image_size=16, batch_size=128, eval_batch_size=250
    ),
    model=ModelOptions(name="resnet20", width=0.5),
    optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
    pretrain=PretrainOptions(epochs=12, lr=0.1),
    cells=CellOptions(epochs=4, lr=0.02),
)
_DEMO = replace(
    _FULL,
    preset="demo",
    grid=("l1 strength=1e-4,1e-3", "transformed_l1 strength=1e-4,5e-4 a=0.1,1"),
    fatrelu=(),
    seeds=(0, 1),
    data=DataOptions(name="digits", image_size=28, batch_size=64, eval_batch_size=120),
    pretrain=PretrainOptions(epochs=15, lr=0.05),
    cells=CellOptions(epochs=10, lr=0.02),
)
PRESETS = {"full": _FULL, "cifar100": _CIFAR100, "demo": _DEMO}

if __name__ == "__main__":
    sys.exit(main("compare_penalties", PRESETS, doc=__doc__ or ""))
