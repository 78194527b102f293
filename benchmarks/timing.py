"""Interleaved timing: the variants take turns, so that a drift affects all equally."""

import statistics
import time
from collections.abc import Callable, Mapping

import jax
from rich.console import Console
from rich.table import Table

__all__ = ["interleaved", "show"]


def interleaved(
    variants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every variant in every round, after one round of warm-up.

    Args:
      variants: functions by name.
      rounds: number of times that each is timed.
      clock: `time.process_time` for seconds of processor, where other work shares it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for i in range(rounds + 1):
        for name, call in variants.items():
            start = clock()
            jax.block_until_ready(call())
            if i:
                seconds[name].append(clock() - start)
    return seconds


def show(
    title: str, seconds: Mapping[str, list[float]], pairs: Mapping[str, tuple[str, str]]
) -> None:
    """Prints, for every pair, the median of the rounds' ratios, and the medians."""
    table = Table(title=title, title_justify="left")
    for heading in ("ratio", "median", "quartiles", "with, ms", "without, ms"):
        table.add_column(heading, justify="left" if heading == "ratio" else "right")
    for name, (top, bottom) in pairs.items():
        ratios = [a / b for a, b in zip(seconds[top], seconds[bottom], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        table.add_row(
            name,
            f"{middle:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{1e3 * statistics.median(seconds[top]):.1f}",
            f"{1e3 * statistics.median(seconds[bottom]):.1f}",
        )
    Console().print(table)
