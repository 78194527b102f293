"""Methods of sparse training side by side: each from scratch, with one recipe.

Trains densely and with every method for every seed, and evaluates each once on the test
set. The same command continues a comparison that was stopped; more seeds or methods can
be added to a finished one. A comparison of single options is one of texts:
`--methods "rigl drop_fraction=0.3" "rigl drop_fraction=0.5"`.

COMMAND
  python -m experiments.sparse_training                     ResNet18, CIFAR-100
  python -m experiments.sparse_training --preset cifar100   narrow ResNet-20, 16 pixels
  python -m experiments.sparse_training --preset chase      90 %, narrow ResNet-18
  python -m experiments.sparse_training --preset east       99.9 %, narrow ResNet-34
  python -m experiments.sparse_training --preset demo       bundled digits

HARDWARE, TIME, RESULT
  full       not yet run; meant for a GPU
  cifar100   two CPU cores, 2 h 3 min beside other work: static 22.1, SET 22.9,
             RigL 23.5, gradual magnitude 23.4, GraNet 24.6, dense 35.3 %
  chase      one H200, 20 trainings at the same time, 8 min in all: static 38.1, RigL
             40.0, GraNet 40.0, Chase 42.1, with 40 % of the channels gone 41.9,
             dense 47.7 %
  demo       two CPU cores, about a minute

FILES
  DIR/cells.jsonl              hold-out and cost of every training, a line each
  DIR/test.jsonl               the test set on each of them
  DIR/seedN/masks.jsonl        densities, dropped and grown weights by layer
  DIR/report.html, DIR/report.md, DIR/figures, DIR/table.jsonl
"""

import sys

from experiments.grid.launch import main
from experiments.grid.methods.options import MethodGrid
from experiments.options import DataOptions, ModelOptions, OptimOptions

_METHODS = (
    "random",
    "set distribution=erk",  # as the others, so that only growth differs
    "rigl",
    "gradual_magnitude",
    "granet",
    "sr_ste structure=2:4",
)
_CYCLES = "interval=4% cycle_interval=1%"
PRESETS = {
    "full": MethodGrid(
        methods=_METHODS,
        rules=("^conv1/=false",),
        epochs=200,
        data=DataOptions(name="cifar100", batch_size=128, eval_batch_size=250),
        model=ModelOptions(name="resnet18", stem="cifar"),
        optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
    ),
    "cifar100": MethodGrid(
        preset="cifar100",
        methods=_METHODS,
        rules=("^conv1/=false",),
        epochs=12,
        eval_every=3,
        data=DataOptions(
            name="cifar100", image_size=16, batch_size=128, eval_batch_size=250
        ),
        model=ModelOptions(name="resnet20", width=0.5),
        optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
    ),
    "chase": MethodGrid(
        preset="chase",
        methods=(
            "random",
            "rigl",
            "granet",
            "chase channel_sparsity=0",
            "chase channel_sparsity=0.4",
        ),
        rules=("^conv1/=false",),
        epochs=15,
        eval_every=5,
        data=DataOptions(
            name="cifar100", image_size=16, batch_size=128, eval_batch_size=250
        ),
        model=ModelOptions(name="resnet18", stem="cifar", width=0.25),
        optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
    ),
    "east": MethodGrid(
        preset="east",
        methods=(
            "random",
            "rigl",
            f"east {_CYCLES} dyrelu=true owners=2",
            f"east {_CYCLES}",
            "rigl_itop dyrelu=true",
            "rigl_itop owners=2",
            "rigl_itop fan_in=true",
            "rigl_itop",
        ),
        sparsity=0.999,
        epochs=15,
        eval_every=5,
        data=DataOptions(
            name="cifar100", image_size=16, batch_size=128, eval_batch_size=250
        ),
        model=ModelOptions(name="resnet34", stem="cifar", width=0.25),
        optim=OptimOptions(nesterov=True, weight_decay=5e-4, decay="step", clip=1.0),
    ),
    "demo": MethodGrid(
        preset="demo",
        methods=("random", "set", "rigl", "gradual_magnitude"),
        epochs=30,
        eval_every=10,
        log_every=10,
        seeds=(0,),
        data=DataOptions(name="digits", batch_size=64, eval_batch_size=120),
        model=ModelOptions(name="mlp"),
        optim=OptimOptions(weight_decay=5e-4, warmup_epochs=1),
    ),
}

if __name__ == "__main__":
    sys.exit(main("sparse_training", PRESETS, doc=__doc__ or ""))
