"""EfficientNet-Lite0 from ImageNet's weights to a dual sparse network on Imagenette.

The setting of Yu & Tian 2024, smaller: weights of ImageNet, which come as a package of
17 MB, and photographs of ten of its classes. The baseline is what fine-tuning with a
new last layer makes of them; the dense control is trained on for as long as the sparse
stages take. Nothing is dropped at random but inputs of the last layer: the stages are
short.

COMMAND
  pip install 'dst_jax[efficientnet]'
  python -m experiments.imagenette_efficientnet_lite0                  96 pixels
  python -m experiments.imagenette_efficientnet_lite0 --preset small   64 pixels

HARDWARE, TIME, RESULT (top-1 / weight sparsity / activation sparsity / FLOPs drop, %)
  full    one x86 core, half an hour a seed, seeds 0 and 1: 86.39, 86.96 / 60.00 /
          50.26, 50.36 / 61.66, 61.60 (baseline 85.15, 88.69 / 0 / 42 / 29; dense
          control 92.33, 91.95; pruned 89.30, 89.86 / 60.00 / 42 / 60)
"""

import sys
from dataclasses import replace

from experiments.options import (
    ActivationOptions,
    Config,
    DataOptions,
    InitOptions,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
    PruneOptions,
    RunOptions,
)
from experiments.running.launch import main

_FULL = Config(
    preset="full",
    data=DataOptions(
        name="imagenette", image_size=96, batch_size=64, eval_batch_size=157
    ),
    model=ModelOptions(name="efficientnet_lite0", options=("drop_connect=0",)),
    optim=OptimOptions(warmup_epochs=0.5, weight_decay=1e-4),
    pretrain=PretrainOptions(epochs=2, lr=0.02),
    prune=PruneOptions(
        sparsity=0.6, strength=1e-5, induce_epochs=1, finetune_epochs=2, lr=0.01
    ),
    activation=ActivationOptions(strength=5e-5, epochs=4, lr=0.01),
    init=InitOptions(path="pip:efficientnet_lite0", new_head=True),
    run=RunOptions(control=True, log_every=20),
)
PRESETS = {
    "full": _FULL,
    "small": replace(
        _FULL,
        preset="small",
        data=replace(_FULL.data, image_size=64),
        pretrain=PretrainOptions(epochs=1, lr=0.02),
        prune=replace(_FULL.prune, induce_epochs=0.5, finetune_epochs=0.5),
        activation=ActivationOptions(strength=1e-4, epochs=2, lr=0.01),
    ),
}

if __name__ == "__main__":
    sys.exit(main("imagenette_efficientnet_lite0", PRESETS, doc=__doc__ or ""))
