"""GoogLeNet on CIFAR-100: activation sparsity by Transformed l1 (the paper, Table 1).

COMMAND
  python -m experiments.cifar100_googlenet

HARDWARE, TIME, RESULT (top-1 / activation sparsity, %)
  full    not yet run; the paper: 76.80 / 73.66 (baseline 76.86 / 55.44)
"""

import sys

from experiments.options import ModelOptions
from experiments.running.launch import main
from experiments.running.recipes import cifar100

PRESETS = {"full": cifar100(ModelOptions(name="googlenet_cifar"), strength=1e-6)}

if __name__ == "__main__":
    sys.exit(main("cifar100_googlenet", PRESETS, doc=__doc__ or ""))
