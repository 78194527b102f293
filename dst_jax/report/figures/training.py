"""The figures of one run: sparsity per layer, training curves, multiplications."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dst_jax.report.figures.style import colours, label_layers, styled, subplots
from dst_jax.report.results import Results
from dst_jax.report.series import Phase, stage_ends
from dst_jax.report.tables.layers import names

__all__ = ["flops_per_layer", "sparsity_per_layer", "training"]

WIDTH = 10.0  # inches
ROW = 0.19  # inches a layer takes


@styled
def sparsity_per_layer(results: Results) -> Figure:
    """Zeros in every activation map and every kernel after each stage (Fig. 1)."""
    maps = {
        s.title: {name: 100 * z.sparsity for name, z in s.activations.items()}
        for s in results.stages
    }
    kernels = {
        s.title: {name: 100 * z.sparsity for name, z in s.weights.items()}
        for s in results.stages
    }
    rows = max(len(names(maps.values())), len(names(kernels.values())))
    figure, (left, right) = subplots(WIDTH, 1.5 + ROW * rows, ncols=2)
    _dots(left, maps)
    left.set(title="Sparsity of activation maps", xlabel="zeros in the ReLU output, %")
    _dots(right, kernels)
    right.set(title="Sparsity of weights", xlabel="zeros in the kernel, %")
    for axes in (left, right):
        axes.set_xlim(-3, 103)
    _legend(figure, left)
    return figure


@styled
def flops_per_layer(results: Results) -> Figure:
    """Multiplications with both operands nonzero, per layer and stage (Fig. 5)."""
    shares = {
        s.title: {name: 100 * p.remaining for name, p in s.products.items()}
        for s in results.stages
    }
    macs = {
        s.title: {
            name: p.effectual / s.examples / 1e6 for name, p in s.products.items()
        }
        for s in results.stages
    }
    dense = {
        name: p.dense / s.examples / 1e6
        for s in reversed(results.stages)
        for name, p in s.products.items()
    }
    layers = names(macs.values())
    figure, (left, right) = subplots(WIDTH, 1.5 + ROW * len(layers), ncols=2)
    _dots(left, shares)
    left.set(
        title="Multiplications that remain, share",
        xlabel="both operands nonzero, % of dense",
    )
    left.set_xlim(-3, 103)
    rows = range(len(layers))
    right.barh(rows, [dense[n] for n in layers], color="#e8eaed", label="dense network")
    _dots(right, macs)
    right.set(
        title="Multiplications that remain, number",
        xlabel="both operands nonzero, million per image",
    )
    right.set_xlim(left=0)
    right.set_yticklabels([])
    _legend(figure, right)
    return figure


@styled
def training(results: Results) -> Figure:
    """Accuracy and sparsity over the epochs of all phases (Fig. 3)."""
    figure, (top, bottom) = subplots(WIDTH, 5.6, nrows=2, sharex=True)
    ends = stage_ends(results.phases, [s.name for s in results.stages])
    x = [ends[s.name] for s in results.stages]
    _curve(top, results.phases, "train", "accuracy", "#b9c6d3", "training batches")
    _curve(top, results.phases, "eval", "top1", "#2f6fb0", "hold-out")
    tested = [100 * s.test.top1 for s in results.stages]
    _diamonds(top, x, tested, "#2f6fb0", "test, end of stage")
    top.set(title="Accuracy", ylabel="top-1, %")
    top.set_ylim(bottom=max(top.get_ylim()[0], min(tested) - 20))

    maps = [100 * s.activation_element for s in results.stages]
    name = "activation_sparsity"
    _curve(bottom, results.phases, "eval", name, "#d1495b", "activations, hold-out")
    _diamonds(bottom, x, maps, "#d1495b", "activations (element), test")
    kernels = [100 * s.weight_sparsity for s in results.stages]
    _curve(bottom, results.phases, "eval", "weight_sparsity", "#7f868d", "weights")
    _diamonds(bottom, x, kernels, "#7f868d", "weights, end of stage")
    bottom.set(title="Sparsity", ylabel="zeros, %", xlabel="epochs since the run began")
    bottom.set_ylim(-3, 103)
    for axes in (top, bottom):
        _boundaries(axes, results.phases, text=axes is top)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=4)
    return figure


def _dots(axes: Axes, stages: Mapping[str, Mapping[str, float]]) -> None:
    """A row per layer, a dot per stage, a line between a row's extremes."""
    layers = names(stages.values())
    sizes = np.linspace(38, 16, len(stages))  # equal values stay visible as rings
    for row, layer in enumerate(layers):
        values = [stage[layer] for stage in stages.values() if layer in stage]
        axes.hlines(row, min(values), max(values), color="#c4c8cc", linewidth=1.2)
    for i, (title, colour) in enumerate(colours(list(stages)).items()):
        present = [row for row, layer in enumerate(layers) if layer in stages[title]]
        values = [stages[title][layers[row]] for row in present]
        axes.scatter(values, present, s=sizes[i], color=colour, label=title, zorder=3)
    label_layers(axes, layers)


def _curve(
    axes: Axes,
    phases: Sequence[Phase],
    kind: str,
    quantity: str,
    colour: str,
    label: str | None,
) -> None:
    """One line per phase, so that no line is drawn across a boundary."""
    for phase in phases:
        epochs, values = phase.curve(kind, quantity)
        look: dict[str, Any] = {"marker": "."} if kind == "eval" else {"linewidth": 0.8}
        if values:
            percents = [100 * value for value in values]
            axes.plot(epochs, percents, color=colour, label=label, **look)
            label = None


def _diamonds(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str
) -> None:
    """What the evaluation at the end of each stage found."""
    look: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "zorder": 3}
    axes.plot(x, y, "D", color=colour, label=label, **look)


def _boundaries(axes: Axes, phases: Sequence[Phase], *, text: bool) -> None:
    """A vertical line where a phase starts, and its name beside it."""
    for phase in phases:
        if phase.start > 0:
            axes.axvline(phase.start, color="#9aa0a6", linewidth=0.9, linestyle=":")
        if text:
            axes.annotate(
                phase.label,
                (phase.start, 1),
                xycoords=axes.get_xaxis_transform(),
                xytext=(3, -2),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=7,
                color="#5f6368",
                zorder=2.5,  # over the curves, under the diamonds
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
            )


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
