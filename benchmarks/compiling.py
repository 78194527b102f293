"""The cost of compiling exact counts: a forward pass with `cost.count` / without.

COMMAND
  python -m benchmarks.compiling           one CPU core: about 2 minutes idle

Traces, lowers and compiles every network with and without counts, in turns in one
process without cached results, and prints seconds of processor by pass, and the lines
of the program before and after XLA's passes.
"""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from dst_jax import cost, models

NETWORKS = ("resnet18", "mobilenet_v2", "googlenet", "densenet121")


class Compilation(NamedTuple):
    """Seconds of processor by pass, and lines of the program."""

    trace: float
    lower: float
    compile: float
    lowered: int
    compiled: int

    @property
    def seconds(self) -> float:
        """Seconds of all passes."""
        return self.trace + self.lower + self.compile


def main(
    networks: tuple[str, ...] = NETWORKS,
    batch: int = 16,
    size: int = 64,
    rounds: int = 3,
) -> None:
    """Prints the ratios.

    Args:
      networks: names of the networks.
      batch: number of images per pass.
      size: height and width of the images.
      rounds: number of times that every program is compiled, after one to warm up.
    """
    table = Table(
        title=f"compilation, batch {batch}, {size} px, {jax.devices()[0].device_kind}",
        title_justify="left",
    )
    table.add_column("network")
    for heading in ("ratio", "counts", "trace", "lower", "compile", "lines", "XLA's"):
        table.add_column(heading, justify="right")
    for network in networks:
        alone, counted = _compilations(network, batch, size, rounds)
        ratios = [a.seconds / b.seconds for a, b in zip(counted, alone, strict=True)]
        for name, runs in (("without", alone), ("with", counted)):
            middle = [statistics.median(column) for column in zip(*runs, strict=True)]
            table.add_row(
                network if runs is alone else "",
                f"{statistics.median(ratios):.2f}" if runs is counted else "",
                name,
                *[f"{seconds:.2f}" for seconds in middle[:3]],
                *[str(round(lines)) for lines in middle[3:]],
            )
    Console().print(table)


def _compilations(
    network: str, batch: int, size: int, rounds: int
) -> tuple[list[Compilation], list[Compilation]]:
    """Of the network alone and with counts, in turns."""
    model = models.create(network, num_classes=1000)
    images = jax.ShapeDtypeStruct((batch, size, size, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), images)

    def forward(variables: Any, x: Any) -> Any:
        return model.apply(variables, x)

    alone, counted = [], []
    for i in range(rounds + 1):
        for fn, runs in (
            (forward, alone),
            (cost.count(forward, with_output=True), counted),
        ):
            jax.clear_caches()
            compilation = _compilation(fn, variables, images)
            if i:
                runs.append(compilation)
    return alone, counted


def _compilation(fn: Callable[..., Any], *args: Any) -> Compilation:
    times = [time.process_time()]
    traced = jax.jit(fn).trace(*args)
    times.append(time.process_time())
    lowered = traced.lower()
    times.append(time.process_time())
    compiled = lowered.compile()
    times.append(time.process_time())
    passes = [after - before for before, after in itertools.pairwise(times)]
    lines = [len((x.as_text() or "").splitlines()) for x in (lowered, compiled)]
    return Compilation(*passes, lowered=lines[0], compiled=lines[1])


if __name__ == "__main__":
    tyro.cli(main)
