"""ResNet50 on ImageNet by continuous relaxation (Larson et al. 2023), in rounds.

The author's workflow: seven searches of 15 epochs with the multiplications in the loss,
collapse before the second, fourth, sixth and seventh at 0.1, and 15 epochs of
fine-tuning, here after one more collapse. It starts from torchvision's weights.

COMMAND
  python -m experiments.imagenet_resnet50_relaxation --init.from torchvision:resnet50 \\
    --run.stages relaxation
  python -m experiments.imagenet_resnet50_relaxation    90 dense epochs first
  python -m experiments.imagenet_resnet50_relaxation --preset small   Imagenette, 64 px
  python -m experiments.imagenet_resnet50_relaxation --preset demo    bundled digits

HARDWARE, TIME, RESULT (top-1 / parameters left / multiplications left, %)
  full    not yet run; the author's tables were not found
  small   not yet run
  demo    not yet run
"""

import sys
from dataclasses import replace

from experiments.options import (
    Config,
    DataOptions,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
    RelaxationOptions,
    RunOptions,
)
from experiments.running.launch import main

_FULL = Config(
    preset="full",
    data=DataOptions(name="imagenet2012", batch_size=250, eval_batch_size=250),
    model=ModelOptions(name="resnet50", stem="imagenet"),
    optim=OptimOptions(
        weight_decay=1e-4, decay="step", milestones=(2 / 3, 13 / 15), factor=0.33
    ),
    pretrain=PretrainOptions(epochs=90, lr=0.1),
    relaxation=RelaxationOptions(
        thresholds=(0.1, 0.0, 0.1, 0.0, 0.1, 0.1, 0.1),
        strength=1.0,
        ejector=2.0,
        ramp=(0.0, 1.0),
        epochs=15,
        finetune_epochs=15,
        lr=0.1,
    ),
    run=RunOptions(stages=("pretrain", "relaxation"), log_every=100),
)
_SMALL = replace(
    _FULL,
    preset="small",
    data=DataOptions(
        name="imagenette", image_size=64, batch_size=64, eval_batch_size=100
    ),
    model=ModelOptions(name="resnet50", stem="cifar", width=0.25),
    optim=OptimOptions(weight_decay=1e-4),
    pretrain=PretrainOptions(epochs=10, lr=0.05),
    relaxation=replace(
        _FULL.relaxation,
        thresholds=(0.3, 0.4, 0.5),
        target=0.25,
        strength=2.0,
        ejector=2.0,
        sigma=0.33,
        ramp=(1.0, 5.0),
        epochs=5,
        finetune_epochs=8,
        lr=0.05,
    ),
)
PRESETS = {
    "full": _FULL,
    "small": _SMALL,
    "demo": replace(
        _SMALL,
        preset="demo",
        data=DataOptions(name="digits", batch_size=64, eval_batch_size=120),
        model=ModelOptions(name="mlp", options=("hidden=64,32",)),
        optim=OptimOptions(rule="adamw", weight_decay=1e-4),
        pretrain=PretrainOptions(epochs=10, lr=5e-3),
        relaxation=replace(
            _SMALL.relaxation,
            thresholds=(0.1, 0.1, 0.25),
            strength=10.0,
            ejector=0.3,
            sigma=1.0,
            ramp=(3.0, 8.0),
            epochs=10,
            lr=2e-2,
        ),
    ),
}

if __name__ == "__main__":
    sys.exit(main("imagenet_resnet50_relaxation", PRESETS, doc=__doc__ or ""))
