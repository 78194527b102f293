"""Times networks of half the channels, here and by Torch-Pruning.

COMMAND
  pip install torch torch-pruning
  python -m benchmarks.channels           6 min 30 s of processor with --rounds 3

Removes half of the channels of every group by the L2 norm, in multiples of 8, with the
classifier's outputs kept, here and by Torch-Pruning from the PyTorch networks that the
tests compare ours with. Measures in one process and in turns, in float32, the forward
pass in evaluation mode (three in a row) and a training step (forward, backward, SGD
with momentum, BatchNorm's statistics), of the whole network and of the smaller one;
PyTorch runs eagerly in channels-last. Efficiency is the speed-up divided by the ratio
of multiplications, at best about 1. Where ours is below theirs, the layers that take
longest beyond their share follow. Without PyTorch or Torch-Pruning ours are measured
alone.

On a machine that other work shares, one core and seconds of processor vary less:
  XLA_FLAGS=--xla_cpu_multi_thread_eigen=false OMP_NUM_THREADS=1 taskset -c 1 \
    python -m benchmarks.channels --processor
"""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from statistics import median, quantiles
from typing import Any

import jax
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.layer_times import LayerTime, layer_times
from benchmarks.timing import interleaved
from benchmarks.training_steps import in_jax, in_pytorch
from dst_jax import channels, models

_STEP = "training step"
_KINDS = ("forward", _STEP)
_OURS, _THEIRS = "dst_jax", "Torch-Pruning"


@dataclass(frozen=True)
class Pair:
    """A network and the smaller one made of it.

    Attributes:
      size: multiplications of an image, and parameters, of both.
      calls: calls to time, by "whole" and "smaller" and what they do.
      layers: measures the layers of both; None for PyTorch's.
    """

    size: dict[str, tuple[int, int]]
    calls: dict[tuple[str, str], Callable[[], object]]
    layers: Callable[..., list[LayerTime]] | None = None

    @property
    def ratio(self) -> float:
        """How many times fewer multiplications the smaller one has."""
        return self.size["whole"][0] / self.size["smaller"][0]


def main(
    names: tuple[str, ...] = ("resnet18", "resnet50", "vgg16_bn", "mobilenet_v2"),
    batch: int = 16,
    size: int = 128,
    ratio: float = 0.5,
    multiple_of: int = 8,
    rounds: int = 7,
    processor: bool = False,
) -> None:
    """Prints a table for each network, and its layers where ours are below theirs.

    Args:
      names: names of networks.
      batch: number of images per step.
      size: height and width of the images.
      ratio: share of the channels of every group that is removed.
      multiple_of: number that divides how many are kept.
      rounds: number of times that every variant is timed.
      processor: whether to measure seconds of processor instead of seconds.
    """
    clock = time.process_time if processor else time.perf_counter
    device = jax.devices()[0].device_kind
    console = Console(width=140)
    console.print(f"ratio {ratio}, batch {batch}, {size} px, float32, {device}")
    if not _available():
        console.print("torch or torch-pruning is not installed: ours alone")
    for name in names:
        pairs = {_OURS: _ours(name, batch, size, ratio, multiple_of)}
        if _available():
            pairs[_THEIRS] = _theirs(name, batch, size, ratio, multiple_of)
        table, efficiency = _measured(name, pairs, rounds, clock)
        console.print(table)
        layers = pairs[_OURS].layers
        below = any(
            efficiency[_OURS, kind] < efficiency.get((_THEIRS, kind), 0.0)
            for kind in _KINDS
        )
        if below and layers:
            console.print(_layer_table(name, layers(rounds=rounds, clock=clock)))


def _available() -> bool:
    return all(find_spec(package) for package in ("torch", "torch_pruning"))


def _ours(name: str, batch: int, size: int, ratio: float, multiple_of: int) -> Pair:
    model = models.create(name, num_classes=1000)
    x = jax.random.normal(jax.random.key(0), (batch, size, size, 3))
    variables = model.init(jax.random.key(1), x[:1])
    evaluate = model.apply
    train = partial(
        model.apply,
        train=True,
        mutable=["batch_stats"],
        rngs={"dropout": jax.random.key(2)},
    )
    groups = channels.groups(evaluate)(variables, x)
    keep = channels.select(
        channels.scores.l2(variables, groups),
        groups,
        ratio=ratio,
        scope="group",
        multiple_of=multiple_of,
    )
    smaller = channels.smaller(evaluate, groups, keep)
    small = channels.remove(variables, groups, keep)
    cost = channels.relaxed(evaluate, groups)
    calls = {
        "whole": in_jax(evaluate, train, variables, x),
        "smaller": in_jax(
            smaller,
            channels.smaller(train, groups, keep, has_aux=True),
            small,
            x,
        ),
    }
    return Pair(
        {
            "whole": cost.exact({}, variables, x[:1]),
            "smaller": cost.exact(keep, variables, x[:1]),
        },
        {(which, kind): calls[which][kind] for which in calls for kind in _KINDS},
        partial(layer_times, evaluate, smaller, variables, small, x),
    )


def _theirs(name: str, batch: int, size: int, ratio: float, multiple_of: int) -> Pair:
    # Not import statements: the types are checked without PyTorch as well.
    torch: Any = import_module("torch")
    pruning: Any = import_module("torch_pruning")
    build = import_module("tests.models.torch_reference.build").BUILDERS[name]
    torch.manual_seed(0)
    whole = build(num_classes=1000)
    smaller = deepcopy(whole)
    image = torch.randn(1, 3, size, size)
    outputs = [m for m in smaller.modules() if getattr(m, "out_features", 0) == 1000]
    pruner = pruning.pruner.MagnitudePruner(
        smaller,
        image,
        importance=pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=ratio,
        round_to=multiple_of,
        ignored_layers=outputs,
    )
    pruner.step()
    x = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    sizes, calls = {}, {}
    for which, network in (("whole", whole), ("smaller", smaller)):
        multiplications, parameters = pruning.utils.count_ops_and_params(
            network.eval(), image
        )
        sizes[which] = int(multiplications), int(parameters)
        found = in_pytorch(network.to(memory_format=torch.channels_last), x)
        calls |= {(which, kind): found[kind] for kind in _KINDS}
    return Pair(sizes, calls)


def _measured(
    name: str, pairs: Mapping[str, Pair], rounds: int, clock: Callable[[], float]
) -> tuple[Table, dict[tuple[str, str], float]]:
    """A row for each maker, and the efficiencies by maker and what is timed."""
    table = Table(title=name, title_justify="left")
    for heading in ("by", "multiplications, G", "parameters, M"):
        table.add_column(heading)
    for kind in _KINDS:
        for heading in (f"{kind} x", "efficiency", "quartiles"):
            table.add_column(heading, justify="right")
    variants = {
        f"{by} {which} {kind}": call if kind == _STEP else _thrice(call)
        for by, pair in pairs.items()
        for (which, kind), call in pair.calls.items()
    }
    seconds = interleaved(variants, rounds=rounds, clock=clock)
    efficiency = {}
    for by, pair in pairs.items():
        (macs, params), (macs_left, params_left) = pair.size.values()
        cells = [
            by,
            f"{macs / 1e9:.2f} -> {macs_left / 1e9:.2f}, {pair.ratio:.2f}x",
            f"{params / 1e6:.2f} -> {params_left / 1e6:.2f}",
        ]
        for kind in _KINDS:
            times = (seconds[f"{by} {which} {kind}"] for which in pair.size)
            ratios = [whole / smaller for whole, smaller in zip(*times, strict=True)]
            low, middle, high = (q / pair.ratio for q in quantiles(ratios, n=4))
            efficiency[by, kind] = middle
            quartiles = f"{low:.2f} to {high:.2f}"
            cells += [f"{median(ratios):.2f}", f"{middle:.2f}", quartiles]
        table.add_row(*cells)
    return table, efficiency


def _thrice(call: Callable[[], object]) -> Callable[[], object]:
    """Three calls: the first after a training step finds its memory gone."""
    return lambda: [call() for _ in range(3)]


def _layer_table(name: str, layers: Sequence[LayerTime], rows: int = 5) -> Table:
    """The layers of ours that take longest beyond their share of multiplications."""
    table = Table(title=f"{name}: layers of ours, ms", title_justify="left")
    for heading in (
        "layer",
        "whole",
        "smaller",
        "multiplications x",
        "beyond its share",
    ):
        table.add_column(heading, justify="left" if heading == "layer" else "right")
    for layer in sorted(layers, key=lambda layer: -layer.excess)[:rows]:
        table.add_row(
            layer.name,
            f"{1e3 * layer.whole:.2f}",
            f"{1e3 * layer.smaller:.2f}",
            f"{layer.ratio:.2f}",
            f"{1e3 * layer.excess:.2f}",
        )
    total = sum(layer.excess for layer in layers)
    table.add_row("all products", "", "", "", f"{1e3 * total:.2f}")
    return table


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
