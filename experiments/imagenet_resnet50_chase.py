"""ResNet50 on ImageNet with Chase (Yin et al. 2023), from scratch: a smaller network.

COMMAND
  python -m experiments.imagenet_resnet50_chase
  python -m experiments.imagenet_resnet50_chase --preset small   Imagenette, 64 pixels
  python -m experiments.imagenet_resnet50_chase --preset demo    bundled digits

  `groups=all` among --prune.method-options removes channels of the residual streams
  too, the paper's "prune skip".

HARDWARE, TIME, RESULT (top-1, %)
  full    not yet run; the authors: 74.03 at 90 % of the weights and 40 % of the
          channels, 0.67 of the dense multiplications that a GPU makes use of
"""

import sys

from experiments.options import ModelOptions
from experiments.running.chase_recipes import chase_on_imagenet
from experiments.running.launch import main

PRESETS = chase_on_imagenet(ModelOptions(name="resnet50", stem="imagenet"))

if __name__ == "__main__":
    sys.exit(main("imagenet_resnet50_chase", PRESETS, doc=__doc__ or ""))
