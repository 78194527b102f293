"""The figure of energy: which part of each modelled accelerator takes how much."""

from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import legend_at_right, styled, subplots
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.accelerator_estimates import accelerator_names

__all__ = ["FIGURE", "draw"]

PARTS = {
    "mac": "#00204c",
    "gated": "#0b3370",
    "idle": "#31446b",
    "scratchpad": "#4f576c",
    "accumulator": "#666970",
    "metadata": "#7d7c78",
    "crossbar": "#958f78",
    "buffer": "#b1a570",
    "dram": "#cbba69",
    "static": "#ffe945",
}
"""Colours of the map cividis, dark next to the multipliers: those of no stage."""


@styled
def draw(run: RunResults) -> Figure:
    """A stacked bar per accelerator and stage, as shares of its first stage.

    >>> from pathlib import Path
    >>> from dst_jax.report import accelerator_records as records
    >>> from dst_jax.report.run_results import StageResults
    >>> def stage(name, **energy):
    ...     total = records.OperationRecord(energy=energy)
    ...     scnn = records.AcceleratorRecord(total=total)
    ...     return StageResults(name, name, {}, 8, accelerators={"scnn": scnn})
    >>> stages = stage("dense", mac=400), stage("pruned", mac=100)
    >>> (axes,) = draw(RunResults(Path("run"), stages)).axes
    >>> [float(bar.get_width()) for bar in axes.patches[:2]]  # percent
    [100.0, 25.0]
    """
    accelerators = accelerator_names(run)
    stages = [stage for stage in run.compared if stage.accelerators]
    bars = len(accelerators) * (len(stages) + 1)
    height = 1.0 + max(0.17 * bars, 0.2 * len(PARTS))  # bars, or the legend
    figure, (axes,) = subplots(10.0, height)
    y, ticks = 0.0, []
    for name in accelerators:
        whole = sum(stages[0].accelerators[name].total.energy.values())
        for stage in stages:
            left = 0.0
            found = stage.accelerators[name].total.energy
            # Runs from before the newer parts lack them.
            for part in (part for part in PARTS if part in found):
                share = 100 * found[part] / whole if whole else 0.0
                axes.barh(y, share, left=left, height=0.85, color=PARTS[part])
                left += share
            ticks.append((y, f"{name}, {stage.title}"))
            y += 1
        y += 0.7
    axes.set_yticks(*zip(*ticks, strict=True), fontsize=7)
    axes.set_ylim(y - 1.0, -0.8)
    axes.grid(visible=False, axis="y")
    axes.set(title="Energy by part", xlabel="% of the accelerator's first bar")
    for part, colour in PARTS.items():
        axes.barh(0, 0, color=colour, label=part)
    legend_at_right(axes)
    return figure


FIGURE = ReportFigure(
    name="energy_by_part",
    title="Energy by part",
    caption=(
        "Multipliers, products kept from them, multipliers without a product, the "
        "memories next to them, banked accumulators, positions of nonzeros, crossbars, "
        "the on-chip buffer, DRAM, and the static energy, which flows at all times."
    ),
    draw=draw,
    applies=lambda run: any(stage.accelerators for stage in run.compared),
)
