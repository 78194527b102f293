"""ResNet18 on CIFAR-10 by continuous relaxation (Larson et al. 2023), in rounds.

Widths are learned with gates on channels and the network's parameters in the loss; what
is closed is removed after every search. The author's workflow: images of 64 pixels,
Adam, 80 epochs with free gates, six searches of 50, 80 of fine-tuning, all from
scratch. Its augmentations scale, shift and add noise; here are the shifts and rotations
of `affine`, and the decay of weights is decoupled. The small presets train densely
first, which is their baseline, and aim at a quarter of the multiplications.

COMMAND
  python -m experiments.cifar10_resnet18_relaxation
  python -m experiments.cifar10_resnet18_relaxation --preset small   CIFAR-10, 16 pixels
  python -m experiments.cifar10_resnet18_relaxation --preset demo    bundled digits

HARDWARE, TIME, RESULT (top-1 / parameters left / multiplications left, %)
  full    not yet run; the author's notebooks: 91.04 / 13.2 / 24.9, of about 91.5
  small   not yet run
  demo    two CPU cores, half a minute: 90.82 / 36.63 / 36.50 (baseline 89.98)
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
    data=DataOptions(
        name="cifar10",
        image_size=64,
        batch_size=200,
        eval_batch_size=250,
        augment=("affine", "flip"),
    ),
    model=ModelOptions(name="resnet18", stem="imagenet"),
    optim=OptimOptions(
        rule="adamw",
        weight_decay=1e-4,
        decay="step",
        milestones=(0.4, 0.6, 0.8, 0.9, 0.96),
        factor=0.25,
    ),
    pretrain=PretrainOptions(epochs=0, lr=1e-3),
    relaxation=RelaxationOptions(
        thresholds=(0.02, 0.03, 0.05, 0.1, 0.2, 0.25),
        strength=0.3,
        ejector=1.0,
        cost="parameters",
        init_epochs=80,
        epochs=50,
        finetune_epochs=80,
        lr=1e-3,
    ),
    run=RunOptions(stages=("pretrain", "relaxation"), log_every=100),
)
_SMALL = replace(
    _FULL,
    preset="small",
    data=replace(_FULL.data, image_size=16, batch_size=128, augment=None),
    model=ModelOptions(name="resnet18", stem="cifar", width=0.25),
    optim=OptimOptions(rule="adamw", weight_decay=1e-4),
    pretrain=PretrainOptions(epochs=8, lr=2e-3),
    relaxation=replace(
        _FULL.relaxation,
        thresholds=(0.3, 0.4, 0.5),
        strength=2.0,
        target=0.25,
        cost="multiplications",
        ejector=2.0,
        sigma=0.33,
        ramp=(1.0, 4.0),
        init_epochs=0,
        epochs=4,
        finetune_epochs=6,
        lr=2e-3,
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
        pretrain=PretrainOptions(epochs=10, lr=5e-3),
        relaxation=replace(
            _SMALL.relaxation,
            thresholds=(0.05, 0.1, 0.25),
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
    sys.exit(main("cifar10_resnet18_relaxation", PRESETS, doc=__doc__ or ""))
