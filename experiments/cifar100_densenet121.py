"""DenseNet121 on CIFAR-100: activation sparsity by Transformed l1 (the paper, Table 1).

COMMAND
  python -m experiments.cifar100_densenet121

HARDWARE, TIME, RESULT (top-1 / activation sparsity, %)
  full    not yet run; the paper: 79.35 / 79.24 (baseline 79.31 / 59.15)
"""

import sys

from experiments.options import ModelOptions
from experiments.running.launch import main
from experiments.running.recipes import cifar100

PRESETS = {"full": cifar100(ModelOptions(name="densenet121_cifar"), strength=1e-6)}

if __name__ == "__main__":
    sys.exit(main("cifar100_densenet121", PRESETS, doc=__doc__ or ""))
