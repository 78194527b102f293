"""The figure of the speed-up of every stage on every modelled accelerator."""

import numpy as np
from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import colours, styled, subplots
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
    ...     fc = records.OperationRecord(
    ...         "sparse", "compute", cycles, 1e-6, 0.5, 900, 300, 64, {"mac": cycles}
    ...     )
    ...     layers = {"fc": fc}
    ...     scnn = records.AcceleratorRecord(8, 16, 2, "horowitz45", "pJ", fc, layers)
    ...     test, estimates = {"top1": 0.9}, {"scnn": scnn}
    ...     return StageResults(name, name, test, 8, accelerators=estimates)
    >>> stages = stage("pretrain", 400.0), stage("static", 100.0)
    >>> (axes,) = draw(RunResults(Path("run"), stages)).axes
    >>> [float(bar.get_width()) for bar in axes.patches]
    [1.0, 4.0]
    """
    accelerators = accelerator_names(run)
    palette = colours([stage.title for stage in run.stages])
    stages = [stage for stage in run.stages if stage.accelerators]
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
    axes.set(title="Speed-up", xlabel="times fewer cycles than the first stage")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


FIGURE = ReportFigure(
    name="speed_up",
    title="Speed-up on modelled accelerators",
    caption=(
        "Cycles of the first stage's network over those of a later one, on the same "
        "accelerator. An accelerator that cannot use a kind of sparsity shows none for "
        "it."
    ),
    draw=draw,
    applies=lambda run: bool(accelerator_names(run)),
)
