"""ResNet18 through the three stages of dual sparse training (Yu & Tian 2024, Table 3).

COMMAND
  python -m experiments.imagenet_resnet18                  ImageNet, 224 pixels
  python -m experiments.imagenet_resnet18 --preset small   Imagenette, 64 pixels
  python -m experiments.imagenet_resnet18 --preset demo    bundled digits, 16 pixels

HARDWARE, TIME, RESULT (top-1 / weight sparsity / activation sparsity / FLOPs drop, %)
  full    not yet run; the paper: 69.79 / 60 / 67.82 / 81.70 (baseline 69.76 top-1)
  small   two CPU cores, 24 min: 72.41 / 60.00 / 51.00 / 70.35 (baseline 70.70)
  demo    two CPU cores, 2 min:  98.66 / 60.00 / 71.93 / 85.37 (baseline 98.66)
"""

import sys

from experiments.options import (
    ActivationOptions,
    Config,
    DataOptions,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
    PruneOptions,
    RunOptions,
)
from experiments.running.launch import main
from experiments.running.recipes import imagenet

PRESETS = {
    "full": imagenet(ModelOptions(name="resnet18", stem="imagenet")),
    "small": Config(
        preset="small",
        data=DataOptions(
            name="imagenette", image_size=64, batch_size=64, eval_batch_size=157
        ),
        model=ModelOptions(name="resnet18", stem="imagenet", width=0.5),
        optim=OptimOptions(warmup_epochs=1, weight_decay=5e-4),
        pretrain=PretrainOptions(epochs=10, lr=0.05),
        prune=PruneOptions(
            sparsity=0.6, strength=1e-5, induce_epochs=2, finetune_epochs=3, lr=0.01
        ),
        activation=ActivationOptions(strength=2e-5, epochs=4, lr=0.01),
        run=RunOptions(log_every=20),
    ),
    "demo": Config(
        preset="demo",
        data=DataOptions(
            name="digits", image_size=16, batch_size=64, eval_batch_size=120
        ),
        model=ModelOptions(name="resnet18", stem="cifar", width=0.25),
        optim=OptimOptions(warmup_epochs=1, weight_decay=5e-4),
        pretrain=PretrainOptions(epochs=15, lr=0.05),
        prune=PruneOptions(
            sparsity=0.6, strength=1e-4, induce_epochs=5, finetune_epochs=5, lr=0.02
        ),
        activation=ActivationOptions(strength=1e-4, epochs=15, lr=0.05),
        run=RunOptions(log_every=10),
    ),
}

if __name__ == "__main__":
    sys.exit(main("imagenet_resnet18", PRESETS, doc=__doc__ or ""))
