"""ResNet50 on ImageNet: all three parts of EAST (Li et al. 2024), from scratch.

EAST's recipe for ImageNet was not found: its parts are those of its code's recipe for
CIFAR, with lengths as the same shares of the training; epochs, optimizer and batch are
those of our dense baseline.

COMMAND
  python -m experiments.imagenet_resnet50_east                      99.9 %
  python -m experiments.imagenet_resnet50_east --preset full_9995   99.95 %
  python -m experiments.imagenet_resnet50_east --preset full_9999   99.99 %
  python -m experiments.imagenet_resnet50_east --preset small       Imagenette, 64
  python -m experiments.imagenet_resnet50_east --preset demo        bundled digits

HARDWARE, TIME, RESULT (top-1, %)
  not yet run; the tables of the paper were not found
"""

import sys
from dataclasses import replace

from experiments.options import (
    Config,
    DataOptions,
    EastOptions,
    ModelOptions,
    PretrainOptions,
    PruneOptions,
    RunOptions,
)
from experiments.running.launch import main
from experiments.running.recipes import imagenet

_BASE = imagenet(ModelOptions(name="resnet50", stem="imagenet"))


def _full(preset: str, sparsity: float) -> Config:
    return replace(
        _BASE,
        preset=preset,
        prune=PruneOptions(
            method="east",
            method_options=("interval=4000", "cycle_interval=100", "period=20%"),
            sparsity=sparsity,
            induce_epochs=0,
            finetune_epochs=90,
            lr=0.1,
        ),
        pretrain=PretrainOptions(epochs=0),
        east=EastOptions(dyrelu=True, owners=2),
        run=RunOptions(stages=("pretrain", "sparsify_weights"), log_every=100),
    )


_FULL = _full("full", 0.999)
_SMALL = replace(
    _FULL,
    preset="small",
    data=DataOptions(
        name="imagenette", image_size=64, batch_size=64, eval_batch_size=157
    ),
    model=replace(_FULL.model, width=0.25),
    prune=replace(
        _FULL.prune,
        method_options=("interval=4%", "cycle_interval=1%", "period=20%"),
        finetune_epochs=20,
    ),
    run=replace(_FULL.run, log_every=20),
)
PRESETS = {
    "full": _FULL,
    "full_9995": _full("full_9995", 0.9995),
    "full_9999": _full("full_9999", 0.9999),
    "small": _SMALL,
    "demo": replace(
        _SMALL,
        preset="demo",
        data=DataOptions(
            name="digits", image_size=16, batch_size=64, eval_batch_size=120
        ),
        model=replace(_SMALL.model, stem="cifar"),
        prune=replace(_SMALL.prune, sparsity=0.99, finetune_epochs=12),
        run=replace(_SMALL.run, log_every=10),
    ),
}

if __name__ == "__main__":
    sys.exit(main("imagenet_resnet50_east", PRESETS, doc=__doc__ or ""))
