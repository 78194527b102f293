"""Removals of channels side by side: each from its seed's baseline, with controls.

Trains a baseline for every seed, removes channels from it with every score, trains each
smaller network on, and evaluates each once on the test set. Next to them: the same
widths and uniformly narrower ones from scratch, continuous relaxation in rounds
(--relaxations), and a penalty on activation maps after a removal and after pruning of
weights. The same command continues a comparison that was
stopped; seeds and removals can be added to a finished one.

COMMAND
  python -m experiments.channel_removal                     ResNet18, CIFAR-100
  python -m experiments.channel_removal --preset cifar100   narrow ResNet-20, 16 pixels
  python -m experiments.channel_removal --preset demo       bundled digits

HARDWARE, TIME, RESULT
  full       not yet run; meant for a GPU
  cifar100   an x86 core, over an hour a seed: half of the multiplications left; Taylor
             with the exact knapsack 35.6, l2 33.2, UMM 32.7, FPGM 32.5, uniformly
             narrower from scratch 32.7, dense 35.4 %, trained on as long 37.5 %
  demo       one CPU core, half a minute

FILES
  DIR/cells.jsonl              hold-out, sizes and forward time of every cell
  DIR/test.jsonl               the test set on each of them
  DIR/report.html, DIR/report.md, DIR/table.jsonl
"""

import sys

from experiments.grid.launch import main
from experiments.grid.removals.options import PenaltyOptions, RemovalGrid
from experiments.options import (
    ChannelOptions,
    DataOptions,
    ModelOptions,
    OptimOptions,
    PretrainOptions,
)

_REMOVALS = (
    "taylor scope=global solver=exact",
    "taylor scope=global solver=exact distillation=20",
    "taylor scope=global",
    "taylor",
    "l2",
    "umm",
    "fpgm",
    "l2 scope=global",
    "l1",
    "bn_scale",
    "lamp",
    "apoz",
    "wanda",
)
PRESETS = {
    "full": RemovalGrid(
        removals=_REMOVALS,
        sparsity=0.8,
        data=DataOptions(name="cifar100", batch_size=128, eval_batch_size=250),
        model=ModelOptions(name="resnet18", stem="cifar"),
        optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
        pretrain=PretrainOptions(epochs=200, lr=0.1),
        channels=ChannelOptions(epochs=60, lr=0.02),
        penalties=PenaltyOptions(
            grid=("transformed_l1 strength=1e-6 a=1",), epochs=30, lr=0.01
        ),
    ),
    "cifar100": RemovalGrid(
        preset="cifar100",
        removals=_REMOVALS,
        sparsity=0.6,
        eval_every=3,
        data=DataOptions(
            name="cifar100", image_size=16, batch_size=128, eval_batch_size=250
        ),
        model=ModelOptions(name="resnet20", width=0.5),
        optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
        pretrain=PretrainOptions(epochs=12, lr=0.1),
        channels=ChannelOptions(epochs=6, lr=0.02, batches=100),
        penalties=PenaltyOptions(
            grid=("transformed_l1 strength=1e-5,3e-5,1e-4 a=1",), epochs=4, lr=0.01
        ),
    ),
    "demo": RemovalGrid(
        preset="demo",
        removals=("l2", "taylor scope=global solver=exact"),
        sparsity=0.6,
        seeds=(0,),
        eval_every=5,
        data=DataOptions(name="digits", batch_size=64, eval_batch_size=120),
        model=ModelOptions(name="mlp"),
        optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
        pretrain=PretrainOptions(epochs=15, lr=0.1),
        channels=ChannelOptions(epochs=5, lr=0.02),
        penalties=PenaltyOptions(
            grid=("transformed_l1 strength=1e-2 a=1",), epochs=5, lr=0.01
        ),
    ),
}

if __name__ == "__main__":
    sys.exit(main("channel_removal", PRESETS, doc=__doc__ or ""))
