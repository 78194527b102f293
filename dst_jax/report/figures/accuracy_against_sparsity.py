"""The figure of the best metric against activation sparsity, over several runs."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import (
    INK,
    QUIET,
    colours,
    legend_at_right,
    styled,
    subplots,
)
from dst_jax.report.looks import MARKERS
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.comparison import run_names, stage_titles
from dst_jax.report.task_records import shared_task

__all__ = ["FIGURE", "draw"]


@styled
def draw(runs: Sequence[RunResults]) -> Figure:
    """The best metric over activation sparsity: a colour a stage, a marker a run.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults(
    ...     "pretrain", "dense baseline", {"top1": 0.9}, 8, activation_element=0.5
    ... )
    >>> (axes,) = draw([RunResults(Path("run"), (stage,))]).axes
    >>> axes.lines[0].get_xydata().tolist()
    [[50.0, 90.0]]
    """
    figure, (axes,) = subplots(10.0, 5.0)
    task = shared_task([run.task for run in runs])
    palette = colours(stage_titles(runs))
    markers = [MARKERS[i % len(MARKERS)] for i in range(len(runs))]
    for run, marker in zip(runs, markers, strict=True):
        _draw_run(axes, run, palette, marker)
    axes.set(
        title=task.words("{measure} against activation sparsity"),
        xlabel="activation sparsity (element), %",
        ylabel=f"test {task.best.label}",
    )
    of_runs = [
        Line2D([], [], color=INK, linestyle="", marker=marker, label=name)
        for name, marker in zip(run_names(runs), markers, strict=True)
    ]
    of_stages = [
        Line2D([], [], color=palette[title], linewidth=6, label=title)
        for title in dict.fromkeys(s.title for run in runs for s in run.compared)
    ]
    legend_at_right(axes, handles=[*of_stages, *of_runs])
    return figure


FIGURE = ReportFigure(
    name="comparison_accuracy",
    title="{measure} against activation sparsity",
    caption=(
        "A colour for each stage, a marker for each run; a line leads from where the "
        "run starts through the stages built on it."
    ),
    draw=draw,
)


def _draw_run(
    axes: Axes, run: RunResults, palette: Mapping[str, str], marker: str
) -> None:
    """A point per stage, and a line through the stages that follow one another."""
    best, path = run.task.best, []
    for stage in run.compared:
        point = 100 * stage.activation_element, best.scale * stage.test[best.name]
        axes.plot(*point, marker, ms=8, color=palette[stage.title], markeredgecolor="w")
        if stage.name != "control":  # a side branch: no later stage starts from it
            path.append(point)
    if path:
        axes.plot(
            *zip(*path, strict=True), color=QUIET, linewidth=1, alpha=0.6, zorder=1
        )
