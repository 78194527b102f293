"""Evaluates given weights and trains nothing: a baseline's row of the paper's tables.

COMMAND
  python -m experiments.evaluate --init.from torchvision:resnet18 \\
    --model.name resnet18 --data.name imagenet2012 --run.dir runs/resnet18
  python -m experiments.evaluate --init.from RUN_DIR --model.name ... --data.name ...

Prints the task's metrics, activation sparsity in both averages, the exact FLOPs drop.

HARDWARE, TIME, RESULT (top-1 / top-5 / activation sparsity / FLOPs drop, %)
  not yet run on ImageNet; the paper: resnet18 69.76 / 89.08 / 40.78 / 55.71,
  resnet34 73.31 / 91.42 / 43.55 / 57.42, resnet50 76.13 / 92.86 / 44.48 / 55.09
"""

import sys

from experiments.options import Config, DataOptions, RunOptions
from experiments.running.launch import main

PRESETS = {
    "full": Config(
        preset="full", data=DataOptions(name="imagenet2012"), run=RunOptions(stages=())
    )
}

if __name__ == "__main__":
    sys.exit(main("evaluate", PRESETS, doc=__doc__ or ""))
