"""How figures look: one palette, light axes, the same bytes for the same data."""

import io
import zlib
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

__all__ = [
    "colour",
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

styled = matplotlib.rc_context(STYLE)
"""Decorator of every function that draws: the style holds inside it alone."""

STAGES = {
    "dense baseline": "#7f868d",
    "dense control": "#c9a227",
    "pruned": "#2f6fb0",
    "smaller": "#e07b39",
    "activation-sparse": "#2a9d6f",
    "dual sparse": "#d1495b",
}
OTHERS = ("#7b4ea3", "#00798c", "#b5651d", "#e08dac", "#5f6caf", "#8a9a5b")
_FIRST = ("#2f6fb0", "#d1495b", "#2a9d6f", "#c9a227", *OTHERS)
_MORE = ("#17807e", "#9b2226", "#6a994e", "#a5791a", "#4361ee", "#f08a5d", "#3a5a40",
         "#b56576", "#2d3a6e", "#7f5539", "#8338ec", "#bc6c25", "#118ab2")  # fmt: skip
_METHODS = (
    "rigl", "set", "random", "gradual_magnitude", "granet", "static", "sr_ste", "mest",
    "srigl", "ste", "rigl_itop", "gap", "one_shot", "gradual_movement", "threshold",
    "ac_dc", "auto_sparse", "constrained_l0", "halo",
)  # fmt: skip
_PENALTIES = (
    "transformed_l1", "l1", "hoyer_square", "log_sum", "mcp", "laplace", "scad",
    "geman", "cauchy", "lp", "l_half", "l_two_thirds", "capped_l1", "l0", "hoyer",
    "hoyer_square_batch", "l1_minus_l2", "group_lasso",
)  # fmt: skip
_OF_METHODS = dict(zip(_METHODS, (*OTHERS, *_MORE, *_FIRST), strict=False))
_OF_PENALTIES = dict(zip(_PENALTIES, (*_FIRST, *_MORE), strict=False))
_OWN = STAGES | {"control": "#5f6368"} | _OF_METHODS | _OF_PENALTIES


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each stage, method, penalty or other name, the same in all figures.

    Any other name has one that follows from its letters, unless another name of the
    figure has it already.

    Args:
      names: names that one figure shows.

    >>> colours(["pruned", "rigl"])
    {'pruned': '#2f6fb0', 'rigl': '#7b4ea3'}
    >>> colours(["my_penalty", "l1"])["l1"] == colours(["l1"])["l1"]
    True
    """
    found = {name: _OWN[name] for name in names if name in _OWN}
    palette = (*_FIRST, *_MORE)
    for name in dict.fromkeys(names):
        if name not in found:
            first = zlib.crc32(name.encode()) % len(palette)
            order = (*palette[first:], *palette[:first])
            free = [shade for shade in order if shade not in found.values()]
            found[name] = (free or order)[0]
    return {name: found[name] for name in names}


def colour(i: int) -> str:
    """The colour of the i-th run of a comparison.

    >>> colour(0), colour(1)
    ('#2f6fb0', '#d1495b')
    """
    return _FIRST[i % len(_FIRST)]


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
