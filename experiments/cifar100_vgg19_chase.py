"""VGG-19 on CIFAR-100 with Chase (Yin et al. 2023), from scratch: a smaller network.

Channels of every convolution but the last may go, as in the authors' code. The network
is that of the zoo, with two hidden layers of 4096 units after the convolutions.

COMMAND
  python -m experiments.cifar100_vgg19_chase
  python -m experiments.cifar100_vgg19_chase --preset small   a quarter wide, 20 epochs
  python -m experiments.cifar100_vgg19_chase --preset demo    bundled digits

HARDWARE, TIME, RESULT (top-1, %)
  not yet run; the paper's tables for CIFAR were not found
"""

import sys

from experiments.options import ModelOptions
from experiments.running.chase_recipes import chase_on_cifar
from experiments.running.launch import main

_ALL_BUT_THE_LAST = "^features/(?!49$)"
PRESETS = chase_on_cifar(
    ModelOptions(name="vgg19_bn", stem="cifar"),
    channel_interval=8000,
    floor=0.2,
    groups=_ALL_BUT_THE_LAST,
)

if __name__ == "__main__":
    sys.exit(main("cifar100_vgg19_chase", PRESETS, doc=__doc__ or ""))
