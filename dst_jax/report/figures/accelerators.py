"""The figures of modelled accelerators: rooflines, speed-up and energy by part."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dst_jax.report.figures.style import colours, plain_ticks, styled, subplots
from dst_jax.report.results import Results
from dst_jax.report.tables.accelerators import machine_names

__all__ = ["energy_by_part", "rooflines", "speed_up"]

PARTS = {
    "mac": "#2f6fb0",
    "gated": "#9fc5e8",
    "scratchpad": "#2a9d6f",
    "buffer": "#c9a227",
    "dram": "#d1495b",
    "static": "#9aa0a6",
}


@styled
def rooflines(results: Results) -> Figure:
    """A panel per machine, a dot per layer and stage, under the machine's roof."""
    machines = machine_names(results)
    columns = min(len(machines), 5)
    rows = math.ceil(len(machines) / columns)
    figure, panels = subplots(
        1.0 + 2.4 * columns, 0.8 + 2.5 * rows, nrows=rows, ncols=columns
    )
    for axes in panels[len(machines) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, machines, strict=False):
        _roofline(axes, results, name)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels))
    figure.supxlabel("useful multiplications per byte of DRAM traffic", fontsize=9)
    figure.supylabel("useful multiplications per cycle", fontsize=9)
    return figure


@styled
def speed_up(results: Results) -> Figure:
    """Bars: how many times fewer cycles than the first stage on the same machine."""
    machines = machine_names(results)
    palette = colours([stage.title for stage in results.stages])
    stages = [stage for stage in results.stages if stage.machines]
    height = 0.8 + len(machines) * (0.15 + 0.12 * len(stages))
    figure, (axes,) = subplots(10.0, height)
    for i, stage in enumerate(stages):
        y = np.arange(len(machines)) + 0.8 * (i + 0.5) / len(stages) - 0.4
        values = [
            stages[0].machines[name].total.cycles / stage.machines[name].total.cycles
            for name in machines
        ]
        axes.barh(
            y,
            values,
            height=0.75 / len(stages),
            color=palette[stage.title],
            label=stage.title,
        )
    axes.set_yticks(range(len(machines)), machines)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title="Speed-up", xlabel="times fewer cycles than the first stage")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def energy_by_part(results: Results) -> Figure:
    """A stacked bar per machine and stage, as shares of the machine's first stage."""
    machines = machine_names(results)
    stages = [stage for stage in results.stages if stage.machines]
    bars = len(machines) * (len(stages) + 1)
    figure, (axes,) = subplots(10.0, 1.0 + 0.17 * bars)
    y, ticks = 0.0, []
    for name in machines:
        whole = sum(stages[0].machines[name].total.energy.values())
        for stage in stages:
            left = 0.0
            for part, joules in stage.machines[name].total.energy.items():
                share = 100 * joules / whole if whole else 0.0
                axes.barh(y, share, left=left, height=0.85, color=PARTS[part])
                left += share
            ticks.append((y, f"{name}, {stage.title}"))
            y += 1
        y += 0.7
    axes.set_yticks(*zip(*ticks, strict=True), fontsize=7)
    axes.set_ylim(y - 1.0, -0.8)
    axes.grid(visible=False, axis="y")
    axes.set(title="Energy by part", xlabel="% of the machine's first stage")
    for part, colour in PARTS.items():
        axes.barh(0, 0, color=colour, label=part)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _roofline(axes: Axes, results: Results, name: str) -> None:
    stages = [stage for stage in results.stages if name in stage.machines]
    palette = colours([stage.title for stage in results.stages])
    machine = stages[0].machines[name]
    for stage in stages:
        layers = [w for w in stage.machines[name].layers.values() if w.effectual]
        longest = max(work.cycles for work in layers)
        axes.scatter(
            [work.intensity for work in layers],
            [work.effectual_per_cycle for work in layers],
            s=[6 + 40 * work.cycles / longest for work in layers],
            color=palette[stage.title],
            label=stage.title,
            alpha=0.75,
            linewidths=0,
            zorder=3,
        )
    axes.set(xscale="log", yscale="log", title=name)
    plain_ticks(axes.xaxis, axes.yaxis)
    low, high = axes.get_xlim()
    ridge = machine.multipliers / machine.dram_bytes_per_cycle
    x = np.array([min(low, ridge / 4), ridge, max(high, ridge * 4)])
    roof = np.minimum(x * machine.dram_bytes_per_cycle, machine.multipliers)
    axes.plot(x, roof, color="#3c4043", linewidth=1.0)
