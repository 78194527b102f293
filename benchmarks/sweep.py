"""The speed of `cost.sweep` for configurations of accelerators on ResNet18.

COMMAND
  python -m benchmarks.sweep            two CPU cores: about 4 minutes

The network has random weights of which 60 % are pruned, and random images. Every
configuration differs from all others in the numbers that are swept; the masks are
reduced once in every call.
"""

import statistics
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.timing import interleaved
from dst_jax import cost, models, pruning

SWEPT = {
    "dense": {"rows": (4, 64), "columns": (4, 64)},
    "eyeriss_v1": {"tile_filters": (16, 128), "utilisation": (0.2, 1.0)},
    "eyeriss_v2": {"simd": (1, 8), "dram_bandwidth": (1e9, 1e11)},
    "cambricon_x": {"lanes": (4, 64), "dram_bandwidth": (1e9, 1e11)},
    "scnn": {"activation_lanes": (1, 8), "weight_lanes": (1, 8), "kappa": (1.0, 2.0)},
    "dstc": {"per_cycle": (1, 64), "dram_bandwidth": (1e9, 1e11)},
}


def main(
    configurations: int = 10_000,
    size: int = 224,
    batch: int = 1,
    at_once: int = 32,
    rounds: int = 3,
) -> None:
    """Prints (layer x configuration) / s for some accelerators.

    Args:
      configurations: number of configurations of every accelerator.
      size: height and width of the images.
      batch: number of images.
      at_once: number of configurations evaluated together, which bounds the memory.
      rounds: number of times that every accelerator is timed.
    """
    profiles = _profiles(size, batch)

    def call(machine: Any) -> Any:
        program = jax.jit(lambda p, m: cost.sweep(p, m, batch_size=at_once))
        return lambda: program(profiles, machine)

    variants = {
        name: call(_configurations(name, ranges, configurations))
        for name, ranges in SWEPT.items()
    }
    seconds = interleaved(variants, rounds=rounds)
    layers = len(profiles)
    device = jax.devices()[0].device_kind
    table = Table(
        title=f"{configurations:,} configurations x {layers} layers of ResNet18, "
        f"{size} px, batch {batch}, {device}",
        title_justify="left",
    )
    for heading in ("preset", "swept", "seconds", "(layer x configuration) / s"):
        table.add_column(heading, justify="left" if heading in "preset" else "right")
    for name, times in seconds.items():
        median = statistics.median(times)
        rate = layers * configurations / median
        table.add_row(name, ", ".join(SWEPT[name]), f"{median:.2f}", f"{rate:,.0f}")
    Console().print(table)


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
