"""ResNet18 on CIFAR-100: activation sparsity by Transformed l1.

COMMAND
  python -m experiments.cifar100_resnet18

HARDWARE, TIME, RESULT (top-1 / activation sparsity, %)
  full    not yet run; the paper has no such row
"""

import sys

from experiments.options import ModelOptions
from experiments.running.launch import main
from experiments.running.recipes import cifar100

PRESETS = {"full": cifar100(ModelOptions(name="resnet18", stem="cifar"), strength=1e-6)}

if __name__ == "__main__":
    sys.exit(main("cifar100_resnet18", PRESETS, doc=__doc__ or ""))
