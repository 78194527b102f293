"""Axes with a row per layer and a dot per stage."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dst_jax.report.figures.style import LINE, subplots
from dst_jax.report.looks import looks
from dst_jax.report.tables.per_layer import names

__all__ = [
    "ROW",
    "WIDTH",
    "draw_layers",
    "label_layers",
    "layer_axes",
    "stage_legend",
]

WIDTH = 10.0  # inches
ROW = 0.19  # inches a layer takes


def layer_axes(layers: int) -> tuple[Figure, Axes, Axes]:
    """A figure with two axes next to each other, as high as its layers need.

    >>> figure, left, right = layer_axes(10)
    >>> [round(float(inches), 6) for inches in figure.get_size_inches()]
    [10.0, 3.4]
    """
    figure, (left, right) = subplots(WIDTH, 1.5 + ROW * layers, ncols=2)
    return figure, left, right


def draw_layers(axes: Axes, stages: Mapping[str, Mapping[str, float]]) -> None:
    """A row per layer, a dot per stage, a line between a row's extremes.

    Args:
      axes: axes to draw on.
      stages: values by layer, for each stage title.

    >>> _, left, _ = layer_axes(1)
    >>> draw_layers(left, {"pruned": {"fc": 60.0}})
    >>> left.collections[-1].get_offsets().tolist()
    [[60.0, 0.0]]
    """
    layers = names(stages.values())
    sizes = np.linspace(38, 16, len(stages))  # equal values stay visible as rings
    for row, layer in enumerate(layers):
        values = [stage[layer] for stage in stages.values() if layer in stage]
        axes.hlines(row, min(values), max(values), color=LINE, linewidth=1.2)
    for i, (title, look) in enumerate(looks(list(stages)).items()):
        present = [row for row, layer in enumerate(layers) if layer in stages[title]]
        values = [stages[title][layers[row]] for row in present]
        axes.scatter(
            values,
            present,
            s=sizes[i] * (2 if look.marker == "*" else 1),  # a star fills half its box
            color=look.colour,
            marker=look.marker,
            label=title,
            zorder=3,
        )
    label_layers(axes, layers)


def label_layers(axes: Axes, layers: Sequence[str]) -> None:
    """Labels one row per layer, the network's input at the top.

    >>> _, left, _ = layer_axes(2)
    >>> label_layers(left, ["conv1", "fc"])
    >>> [label.get_text() for label in left.get_yticklabels()]
    ['conv1', 'fc']
    """
    short = [name if len(name) <= 30 else f"…{name[-29:]}" for name in layers]
    axes.set_yticks(range(len(layers)), short)
    axes.set_ylim(len(layers) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    if len(layers) > 30:
        axes.tick_params(axis="x", top=True, labeltop=True)
    axes.grid(visible=False, axis="y")


def stage_legend(figure: Figure, axes: Axes) -> None:
    """Puts the legend of the axes above the figure, in one line.

    >>> figure, left, _ = layer_axes(1)
    >>> draw_layers(left, {"pruned": {"fc": 60.0}})
    >>> stage_legend(figure, left)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['pruned']
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
