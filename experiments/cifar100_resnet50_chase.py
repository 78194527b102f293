"""ResNet50 on CIFAR-100 with Chase (Yin et al. 2023), from scratch: a smaller network.

COMMAND
  python -m experiments.cifar100_resnet50_chase
  python -m experiments.cifar100_resnet50_chase --preset small   16 pixels, 20 epochs
  python -m experiments.cifar100_resnet50_chase --preset demo    bundled digits

  `groups=all` among --prune.method-options removes channels of the residual streams
  too, the paper's "prune skip".

HARDWARE, TIME, RESULT (top-1, %)
  full, small   not yet run; the paper's tables for CIFAR were not found
  demo          27.55, of 10 classes; 1 min 50 s, two x86 cores, one seed
"""

import sys

from experiments.options import ModelOptions
from experiments.running.chase_recipes import chase_on_cifar
from experiments.running.launch import main

PRESETS = chase_on_cifar(
    ModelOptions(name="resnet50", stem="cifar"), channel_interval=1000, floor=0.5
)

if __name__ == "__main__":
    sys.exit(main("cifar100_resnet50_chase", PRESETS, doc=__doc__ or ""))
