"""How figures look: light axes, the same bytes for the same data."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from dst_jax.report.looks import looks

__all__ = [
    "BAR",
    "INK",
    "LINE",
    "QUIET",
    "colours",
    "legend_at_right",
    "plain_ticks",
    "png",
    "styled",
    "subplots",
]

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa0a6",
    "axes.grid": True,
    "axes.labelcolor": "#3c4043",
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "figure.titlesize": 11,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e3e5e8",
    "grid.linewidth": 0.8,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": "#9aa0a6",
    "xtick.labelcolor": "#3c4043",
    "xtick.labelsize": 8,
    "ytick.color": "#9aa0a6",
    "ytick.labelcolor": "#3c4043",
    "ytick.labelsize": 8,
}

INK = "#202124"
QUIET = "#80868b"
LINE = "#c4c8cc"
BAR = "#e8eaed"
"""Greys of what is no stage and no method: curves, lines between dots, bars behind."""

styled = matplotlib.rc_context(STYLE)
"""Decorator of every function that draws: the style holds inside it alone."""


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each stage, method, penalty or other name, as `looks` has it.

    Args:
      names: names that one figure shows.

    >>> colours(["pruned", "rigl"])
    {'pruned': '#34468e', 'rigl': '#6d6e1d'}
    """
    return {name: look.colour for name, look in looks(names).items()}


def subplots(width: float, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure in inches and the flat list of its axes, outside pyplot's state.

    >>> figure, axes = subplots(4.0, 2.0, ncols=3)
    >>> figure.get_size_inches().tolist(), len(axes)
    ([4.0, 2.0], 3)
    """
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(squeeze=False, **options)
    return figure, list(axes.flat)


def legend_at_right(axes: Axes, **options: Any) -> None:
    """Puts the legend of the axes at their right, outside.

    >>> _, (axes,) = subplots(2.0, 2.0)
    >>> _ = axes.plot([1, 2], label="pruned")
    >>> legend_at_right(axes)
    >>> [text.get_text() for text in axes.get_legend().get_texts()]
    ['pruned']
    """
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), **options)


def plain_ticks(*axes: Axis) -> None:
    """Plain numbers on the labels of a logarithmic axis: mathtext is switched off.

    >>> _, (axes,) = subplots(2.0, 2.0)
    >>> axes.set_xscale("log")
    >>> plain_ticks(axes.xaxis)
    >>> axes.xaxis.get_major_formatter()(1000.0, 0)
    '1000'
    """
    for axis in axes:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


@styled
def png(figure: Figure) -> bytes:
    """The figure as PNG at twice the screen's resolution, without metadata.

    >>> png(Figure((1.0, 1.0)))[:4]
    b'\\x89PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
    return buffer.getvalue()
