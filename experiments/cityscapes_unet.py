"""U-Net on Cityscapes by continuous relaxation (Larson et al. 2023), in rounds.

The author's workflow: a U-Net with 64 channels at full resolution and no normalisation,
the eight categories of Cityscapes at 512 pixels, Adam, four searches of 40 epochs from
scratch with the multiplications in the loss, and 80 epochs of fine-tuning. No group of
channels may vanish, as none is all of a branch that is added.

COMMAND
  python -m dst_jax.data prepare cityscapes_categories --manual-dir DIR
  python -m experiments.cityscapes_unet
  python -m experiments.cityscapes_unet --preset small   digits over photographs
  python -m experiments.cityscapes_unet --preset demo    digits on canvases, bundled

HARDWARE, TIME, RESULT (mean IoU / parameters left / multiplications left, %)
  full    not yet run; the author's notebooks: 66.25 / 5.13 / 5.28
  small   69.94 / 5.38 / 17.27 (dense 77.05), three seeds, one H200
  demo    10.4 (dense 9.5): too short to learn the digits; 82 s, two x86 cores
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
    TaskOptions,
)
from experiments.running.launch import main

_FULL = Config(
    preset="full",
    data=DataOptions(
        name="cityscapes_categories",
        image_size=512,
        batch_size=20,
        eval_batch_size=20,
        augment=(),
    ),
    model=ModelOptions(name="unet"),
    task=TaskOptions(name="segmentation"),
    optim=OptimOptions(rule="adamw", weight_decay=1e-4, decay="constant"),
    pretrain=PretrainOptions(epochs=0, lr=2e-3),
    relaxation=RelaxationOptions(
        thresholds=(0.01, 0.03, 0.1, 0.2),
        strength=0.1,
        ejector=1.0,
        ramp=(19.0, 20.0),
        epochs=40,
        finetune_epochs=80,
        lr=2e-3,
    ),
    run=RunOptions(stages=("pretrain", "relaxation"), log_every=50),
)
_SMALL = replace(
    _FULL,
    preset="small",
    data=DataOptions(name="digits_photographs", batch_size=32, eval_batch_size=50),
    model=ModelOptions(name="unet", width=0.25, options=("depth=4",)),
    task=TaskOptions(
        name="segmentation", options=("class_weights=" + ",".join(["0.15", *"1" * 10]),)
    ),
    optim=OptimOptions(rule="adamw", weight_decay=1e-4, warmup_epochs=1.0),
    pretrain=PretrainOptions(epochs=60, lr=3e-3),
    relaxation=replace(
        _FULL.relaxation,
        thresholds=(0.3, 0.4, 0.5),
        strength=2.0,
        target=0.15,
        ejector=2.0,
        sigma=0.33,
        ramp=(3.0, 10.0),
        epochs=10,
        finetune_epochs=20,
        lr=3e-3,
    ),
)
PRESETS = {
    "full": _FULL,
    "small": _SMALL,
    "demo": replace(
        _SMALL,
        preset="demo",
        data=DataOptions(
            name="digits_canvas", image_size=32, batch_size=32, eval_batch_size=50
        ),
        model=ModelOptions(name="unet", width=0.125, options=("depth=3",)),
        task=_FULL.task,
        optim=replace(_SMALL.optim, warmup_epochs=0.0),
        pretrain=PretrainOptions(epochs=12, lr=1e-2),
        relaxation=replace(
            _SMALL.relaxation,
            thresholds=(0.1, 0.25),
            strength=10.0,
            ejector=0.3,
            sigma=1.0,
            ramp=(2.0, 5.0),
            epochs=6,
            finetune_epochs=8,
            lr=1e-2,
        ),
    ),
}

if __name__ == "__main__":
    sys.exit(main("cityscapes_unet", PRESETS, doc=__doc__ or ""))
