"""The figure of the speed-up of every stage on every modelled accelerator."""

import numpy as np
from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import colours, legend_at_right, styled, subplots
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.accelerator_estimates import accelerator_names

__all__ = ["FIGURE", "draw"]


@styled
def draw(run: RunResults) -> Figure:
    """A bar per accelerator and stage: cycles of the first stage over its own.

    >>> from pathlib import Path
    >>> from dst_jax.report import accelerator_records as records
    >>> from dst_jax.report.run_results import StageResults
    >>> def stage(name, cycles):
    ...     total = records.OperationRecord(cycles=cycles)
    ...     scnn = records.AcceleratorRecord(total=total)
    ...     return StageResults(name, name, {}, 8, accelerators={"scnn": scnn})
    >>> run = RunResults(Path("run"), (stage("dense", 400), stage("pruned", 100)))
    >>> (axes,) = draw(run).axes
    >>> [float(bar.get_width()) for bar in axes.patches]
    [1.0, 4.0]
    """
    accelerators = accelerator_names(run)
    palette = colours([stage.title for stage in run.stages])
    stages = [stage for stage in run.compared if stage.accelerators]
    height = 0.8 + len(accelerators) * (0.15 + 0.12 * len(stages))
    figure, (axes,) = subplots(10.0, height)
    for i, stage in enumerate(stages):
        y = np.arange(len(accelerators)) + 0.8 * (i + 0.5) / len(stages) - 0.4
        values = [
            stages[0].accelerators[name].total.cycles
            / stage.accelerators[name].total.cycles
            for name in accelerators
        ]
        axes.barh(
            y,
            values,
            height=0.75 / len(stages),
            color=palette[stage.title],
            label=stage.title,
        )
    axes.set_yticks(range(len(accelerators)), accelerators)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set(title="Speed-up", xlabel="times fewer cycles than the first bar")
    legend_at_right(axes)
    return figure


FIGURE = ReportFigure(
    name="speed_up",
    title="Speed-up on modelled accelerators",
    caption=(
        "Cycles of the first trained network over those of a later one, on the same "
        "accelerator. An accelerator that cannot use a kind of sparsity shows none for "
        "it."
    ),
    draw=draw,
    applies=lambda run: any(stage.accelerators for stage in run.compared),
)
