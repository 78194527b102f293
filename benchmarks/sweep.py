"""The speed of `cost.sweep` for configurations of accelerators on ResNet18.

COMMAND
  python -m benchmarks.sweep            one CPU core: 9 minutes

The network has random weights of which 60 % are pruned, and random images. Every
configuration differs from all others in the numbers that are swept; the masks are
reduced once in every call. Each preset is swept twice in one process and in turns: as
`cost.sweep` does it, with large arrays once for every distinct row of whole numbers,
and fewer configurations one batch after the other.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import interleaved
from dst_jax import cost, models, pruning
from dst_jax.cost.estimates import estimate as estimates

SWEPT = {
    "dense": {"rows": (4, 64), "columns": (4, 64)},
    "eyeriss_v1": {"tile_filters": (16, 128), "utilisation": (0.2, 1.0)},
    "eyeriss_v2": {"simd": (1, 8), "dram_bandwidth": (1e9, 1e11)},
    "cnvlutin": {"units": (4, 32), "unit_filters": (4, 32)},
    "cambricon_x": {"lanes": (4, 64), "dram_bandwidth": (1e9, 1e11)},
    "scnn": {"activation_lanes": (1, 8), "weight_lanes": (1, 8), "kappa": (1.0, 2.0)},
    "sparten": {"clusters": (4, 64), "dram_bandwidth": (1e9, 1e11)},
    "dstc": {"per_cycle": (1, 64), "dram_bandwidth": (1e9, 1e11)},
    "tensor_core_2_4": {"rows": (4, 64), "columns": (4, 64)},
    "eie": {"clock": (1e8, 1e9), "dram_bandwidth": (1e9, 1e11)},
}
SLOW = {"eyeriss_v2": 320, "scnn": 960}  # configurations one batch after the other
COLUMNS = (
    "preset",
    "swept",
    "by rows, M / s",
    "without, M / s",
    "ratio",
    "masks, ms",
    "with masks, M / s",
)


def main(
    configurations: int = 200_000,
    without: int = 9_600,
    size: int = 224,
    batch: int = 1,
    at_once: int = 32,
    rounds: int = 3,
    presets: tuple[str, ...] = tuple(SWEPT),
) -> None:
    """Prints millions of (layer x configuration) per second of processor.

    Args:
      configurations: number of configurations of every accelerator.
      without: number of configurations that are evaluated one batch after the other, at
        most.
      size: height and width of the images.
      batch: number of images.
      at_once: number of configurations evaluated together, which bounds the memory.
      rounds: number of times that every accelerator is timed.
      presets: names of the accelerators.
    """
    profiles = _profiles(size, batch)
    table = Table(
        title=f"{configurations:,} configurations x {len(profiles)} layers of "
        f"ResNet18, {size} px, batch {batch}, {jax.devices()[0].device_kind}",
        title_justify="left",
    )
    for heading in COLUMNS:
        table.add_column(heading, justify="left" if heading in COLUMNS[:2] else "right")
    for name in presets:
        numbers = configurations, min(without, SLOW.get(name, without))
        variants = _variants(profiles, name, numbers, at_once)
        seconds = interleaved(variants, rounds=rounds, clock=time.process_time)
        rows, turns, masks = (statistics.median(times) for times in seconds.values())
        pairs = [len(profiles) * number / 1e6 for number in numbers]
        rates = pairs[0] / (rows - masks), pairs[1] / (turns - masks)
        table.add_row(
            name,
            ", ".join(SWEPT[name]),
            f"{rates[0]:.1f}",
            f"{rates[1]:.3f}",
            f"{rates[0] / rates[1]:,.0f}",
            f"{1e3 * masks:.0f}",
            f"{pairs[0] / rows:.1f}",
        )
    Console(width=120).print(table)


def _variants(
    profiles: Any, name: str, numbers: tuple[int, int], at_once: int
) -> dict[str, Callable[[], Any]]:
    """Both sweeps, and the masks alone, which either reduces first."""

    def swept(number: int) -> Callable[[], Any]:
        machine = _configurations(name, SWEPT[name], number)
        program = jax.jit(lambda p, m: cost.sweep(p, m, batch_size=at_once))
        compiled = program.lower(profiles, machine).compile()
        return lambda: compiled(profiles, machine)

    @jax.jit
    def reduced(profiles: Any) -> Any:
        # What reads the masks must not read the numbers.
        machine = jax.tree.map(lambda _: None, cost.accelerators.create(name))
        return {
            k: (machine.measure(p), machine.storage(p)) for k, p in profiles.items()
        }

    rows = swept(numbers[0])
    with mock.patch.object(estimates, "map_distinct", jax.lax.map):
        turns = swept(numbers[1])
    return {"rows": rows, "turns": turns, "masks": lambda: reduced(profiles)}


def _configurations(name: str, ranges: dict[str, Any], number: int) -> Any:
    """Random numbers between bounds; integers for integer bounds."""
    values = {}
    for i, (field, (low, high)) in enumerate(ranges.items()):
        key = jax.random.key(i)
        if isinstance(low, int):
            values[field] = jax.random.randint(key, (number,), low, high + 1)
        else:
            values[field] = jax.random.uniform(key, (number,), jnp.float32, low, high)
    return cost.accelerators.create(name, **values)


def _profiles(size: int, batch: int) -> Any:
    model = models.create("resnet18", num_classes=1000)
    images = jax.random.normal(jax.random.key(0), (batch, size, size, 3))
    variables = jax.jit(model.init)(jax.random.key(1), images)
    variables = {name: variables[name] for name in ("params", "batch_stats")}
    mask = pruning.masks.magnitude(variables["params"], 0.6)
    pruned = pruning.masks.apply(mask, variables["params"])
    forward = jax.jit(cost.profile(model.apply))
    return forward({**variables, "params": pruned}, images)


if __name__ == "__main__":
    tyro.cli(main)
