"""The figure of the best metric against activation sparsity, over several runs."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import colour, legend_at_right, styled, subplots
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.comparison import run_names, stage_titles
from dst_jax.report.task_records import shared_task

__all__ = ["FIGURE", "draw"]

MARKERS = "osD^vPX*"


@styled
def draw(runs: Sequence[RunResults]) -> Figure:
    """The best metric over activation sparsity: a colour a run, a marker a stage.

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
    titles = stage_titles(runs)
    markers = {title: MARKERS[i % len(MARKERS)] for i, title in enumerate(titles)}
    for i, run in enumerate(runs):
        _draw_run(axes, run, markers, colour(i))
    axes.set(
        title=task.words("{measure} against activation sparsity"),
        xlabel="activation sparsity (element), %",
        ylabel=f"test {task.best.label}",
    )
    of_runs = [
        Line2D([], [], color=colour(i), label=name)
        for i, name in enumerate(run_names(runs))
    ]
    of_stages = [
        Line2D([], [], color="#5f6368", linestyle="", marker=marker, label=title)
        for title, marker in markers.items()
    ]
    handles = [*of_runs, *of_stages]
    legend_at_right(axes, handles=handles)
    return figure


FIGURE = ReportFigure(
    name="comparison_accuracy",
    title="{measure} against activation sparsity",
    caption=(
        "A colour for each run, a marker for each stage; a line leads from the dense "
        "baseline through the stages built on it."
    ),
    draw=draw,
)


def _draw_run(
    axes: Axes, run: RunResults, markers: Mapping[str, str], colour: str
) -> None:
    """A point per stage, and a line through the stages that follow one another."""
    best, path = run.task.best, []
    for stage in run.stages:
        point = 100 * stage.activation_element, best.scale * stage.test[best.name]
        marker = markers[stage.title]
        axes.plot(*point, marker, ms=8, color=colour, markeredgecolor="w")
        if stage.name != "control":  # a side branch: no later stage starts from it
            path.append(point)
    axes.plot(*zip(*path, strict=True), color=colour, linewidth=1, alpha=0.5)
