"""ResNet34 through the three stages of dual sparse training (Yu & Tian 2024, Table 3).

COMMAND
  python -m experiments.imagenet_resnet34 --init.from torchvision:resnet34 \\
    --run.stages sparsify_weights sparsify_activations
  python -m experiments.imagenet_resnet34     with 90 epochs of dense training first

HARDWARE, TIME, RESULT (top-1 / weight sparsity / activation sparsity / FLOPs drop, %)
  full    not yet run; the paper: 73.56 / 60 / 64.13 / 81.45 (baseline 73.31 top-1)
"""

import sys

from experiments.options import ModelOptions
from experiments.running.launch import main
from experiments.running.recipes import imagenet

PRESETS = {"full": imagenet(ModelOptions(name="resnet34", stem="imagenet"))}

if __name__ == "__main__":
    sys.exit(main("imagenet_resnet34", PRESETS, doc=__doc__ or ""))
