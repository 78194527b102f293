"""The figure of a comparison of methods: channels sparser than their layer."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dst_jax.report.figures.sparser_channels import has_channels, share_of_channels
from dst_jax.report.figures.style import colours, styled, subplots
from dst_jax.report.looks import family

__all__ = ["sparser_channels"]

_STROKES = ("-", "--", "-.", ":")

Line = Mapping[str, Any]
"""A line of masks.jsonl."""


@styled
def sparser_channels(seeds: Sequence[Sequence[Line]], cells: Sequence[str]) -> Figure:
    """Channels that are sparser than their layer, over epochs and by layer at the end.

    Means over seeds. The claim that this measures is that of Chase: dynamic sparse
    training starves channels.

    Args:
      seeds: the lines of masks.jsonl of each seed.
      cells: names of the trainings that are drawn; those without lines are left out.

    Reference: Yin et al. 2023, arXiv 2305.19454, "up to 60 %" of the channels.

    >>> fc = {"channels": 10, "sparser_channels": 6}
    >>> lines = [{"stage": "rigl", "epoch": 1.0, "layers": {"fc": fc}}]
    >>> left, right = sparser_channels([lines], ["dense", "rigl"]).axes
    >>> [line.get_ydata().tolist() for line in left.lines]
    [[60.0]]
    """
    figure, (left, right) = subplots(10.0, 3.6, ncols=2)
    drawn = _looks(cells)
    for cell in cells:
        runs = [_of(cell, lines) for lines in seeds]
        runs = [run for run in runs if run]
        if not runs:
            continue
        # A seed that was stopped and continued may have logged other steps at its end.
        epochs = [line["epoch"] for line in runs[0]]
        over_time = [
            _mean(map(share_of_channels, at)) for at in zip(*runs, strict=False)
        ]
        left.plot(
            epochs[: len(over_time)], over_time, label=_short(cell), **drawn[cell]
        )
        by_layer = [
            _mean(_share(run[-1]["layers"][layer]) for run in runs)
            for layer in runs[0][-1]["layers"]
        ]
        layers = range(1, len(by_layer) + 1)
        right.plot(layers, by_layer, marker=".", label=_short(cell), **drawn[cell])
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set(title="Of all layers", xlabel="epoch")
    left.set_ylabel("channels sparser than their layer, %")
    right.set(title="At the end, by layer", xlabel="layer", ylabel="%")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def _looks(cells: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A method's colour, and a stroke for each of its settings."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        found.setdefault(family(cell), []).append(cell)
    palette = colours(list(found))
    return {
        cell: {"color": palette[method], "linestyle": _STROKES[i % len(_STROKES)]}
        for method, own in found.items()
        for i, cell in enumerate(own)
    }


def _of(cell: str, lines: Sequence[Line]) -> list[Line]:
    return [line for line in lines if line["stage"] == cell and has_channels(line)]


def _short(name: str) -> str:
    """A name of at most 30 letters: a legend needs room for several."""
    return name if len(name) <= 30 else f"{name[:14]} ... {name[-11:]}"


def _share(layer: Mapping[str, int]) -> float:
    return layer["sparser_channels"] / max(layer["channels"], 1)


def _mean(shares: Iterable[float]) -> float:
    return 100 * statistics.mean(shares)
