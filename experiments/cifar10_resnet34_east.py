"""ResNet34 on CIFAR-10: all three parts of EAST (Li et al. 2024), from scratch.

COMMAND
  python -m experiments.cifar10_resnet34_east                      99.9 %
  python -m experiments.cifar10_resnet34_east --preset full_9995   99.95 %
  python -m experiments.cifar10_resnet34_east --preset full_9999   99.99 %
  python -m experiments.cifar10_resnet34_east --preset small       16 pixels, narrow
  python -m experiments.cifar10_resnet34_east --preset demo        bundled digits
and without one of the parts, in this order: DyReLU, sharing, cycles
  ... --east.no-dyrelu   ... --east.owners None   ... --prune.method rigl_itop
      --prune.method-options interval=4000

HARDWARE, TIME, RESULT (top-1, %)
  full, full_*, small   not yet run; the tables of the paper were not found
  demo                  96.66 at 99 %; 2 min 23 s, two x86 cores, one seed
"""

import sys

from experiments.running.launch import main
from experiments.running.recipes import east_presets

PRESETS = east_presets("resnet34", "cifar10")

if __name__ == "__main__":
    sys.exit(main("cifar10_resnet34_east", PRESETS, doc=__doc__ or ""))
