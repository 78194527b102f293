"""The figure of rooflines: what bounds every layer on every modelled accelerator."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.layer_rows import stage_legend
from dst_jax.report.figures.style import plain_ticks, styled, subplots
from dst_jax.report.looks import looks
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.accelerator_estimates import accelerator_names

__all__ = ["FIGURE", "draw"]


@styled
def draw(run: RunResults) -> Figure:
    """A panel per accelerator, a dot per layer and stage, under its roof.

    >>> from pathlib import Path
    >>> from dst_jax.report.accelerator_records import AcceleratorRecord
    >>> from dst_jax.report.accelerator_records import OperationRecord
    >>> from dst_jax.report.run_results import StageResults
    >>> fc = OperationRecord(cycles=400, effectual=300, dram_bytes=64)
    >>> scnn = AcceleratorRecord(multipliers=16, layers={"fc": fc})
    >>> stage = StageResults("dense", "dense", {}, 8, accelerators={"scnn": scnn})
    >>> (axes,) = draw(RunResults(Path("run"), (stage,))).axes
    >>> float(axes.lines[0].get_ydata().max())  # the roof
    16.0
    """
    accelerators = accelerator_names(run)
    columns = min(len(accelerators), 5)
    rows = math.ceil(len(accelerators) / columns)
    figure, panels = subplots(
        1.0 + 2.4 * columns, 0.8 + 2.5 * rows, nrows=rows, ncols=columns
    )
    for axes in panels[len(accelerators) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, accelerators, strict=False):
        _roofline(axes, run, name)
    stage_legend(figure, panels[0])
    figure.supxlabel("useful multiplications per byte of DRAM traffic", fontsize=9)
    figure.supylabel("useful multiplications per cycle", fontsize=9)
    return figure


FIGURE = ReportFigure(
    name="rooflines",
    title="Rooflines",
    caption=(
        "A dot is a layer, the larger the more cycles it takes. Under the slope the "
        "memory sets the time, under the level the multipliers do."
    ),
    draw=draw,
    applies=lambda run: bool(accelerator_names(run)),
)


def _roofline(axes: Axes, run: RunResults, name: str) -> None:
    stages = [stage for stage in run.stages if name in stage.accelerators]
    drawn = looks([stage.title for stage in run.stages])
    accelerator = stages[0].accelerators[name]
    for stage in stages:
        layers = [w for w in stage.accelerators[name].layers.values() if w.effectual]
        longest = max(layer.cycles for layer in layers)
        axes.scatter(
            [layer.intensity for layer in layers],
            [layer.effectual_per_cycle for layer in layers],
            s=[6 + 40 * layer.cycles / longest for layer in layers],
            color=drawn[stage.title].colour,
            marker=drawn[stage.title].marker,
            label=stage.title,
            alpha=0.75,
            linewidths=0,
            zorder=3,
        )
    axes.set(xscale="log", yscale="log", title=name)
    plain_ticks(axes.xaxis, axes.yaxis)
    low, high = axes.get_xlim()
    ridge = accelerator.multipliers / accelerator.dram_bytes_per_cycle
    x = np.array([min(low, ridge / 4), ridge, max(high, ridge * 4)])
    roof = np.minimum(x * accelerator.dram_bytes_per_cycle, accelerator.multipliers)
    axes.plot(x, roof, color="#3c4043", linewidth=1.0)
