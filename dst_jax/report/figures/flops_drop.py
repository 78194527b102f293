"""The figure of multiplications saved, over several runs."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import colours, legend_at_right, styled, subplots
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.comparison import run_names, stage_titles

__all__ = ["FIGURE", "draw"]


@styled
def draw(runs: Sequence[RunResults]) -> Figure:
    """Multiplications saved: a group of bars per run, a bar per stage.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults(
    ...     "static", "pruned", {"top1": 0.9}, 8, drop_dense=0.8, drop_valid=0.75
    ... )
    >>> (axes,) = draw([RunResults(Path("run"), (stage,))]).axes
    >>> [float(bar.get_width()) for bar in axes.patches]
    [80.0]
    """
    bars = sum(len(run.stages) for run in runs)
    figure, (axes,) = subplots(10.0, 1.2 + 0.2 * bars + 0.15 * len(runs))
    palette = colours(stage_titles(runs))
    y, centres = 0.0, []
    for run in runs:
        centres.append(y + (len(run.stages) - 1) / 2)
        for stage in run.stages:
            drop, valid = 100 * stage.drop_dense, 100 * stage.drop_valid
            axes.barh(y, drop, height=0.85, color=palette[stage.title])
            axes.plot(
                [valid, valid], [y - 0.42, y + 0.42], color="black", linewidth=1.5
            )
            y += 1
        y += 0.8
    axes.set_yticks(centres, run_names(runs))
    axes.set_ylim(y - 1.1, -0.7)
    axes.set_xlim(0, 100)
    axes.grid(visible=False, axis="y")
    axes.set(title="FLOPs drop", xlabel="multiplications with a zero operand, %")
    handles = [
        *(Line2D([], [], color=c, linewidth=6, label=t) for t, c in palette.items()),
        Line2D([], [], color="black", linewidth=1.5, label="of valid (no padding)"),
    ]
    legend_at_right(axes, handles=handles)
    return figure


FIGURE = ReportFigure(
    name="comparison_flops",
    title="FLOPs drop",
    caption=(
        "Bars: of the dense multiplications, padding included. The mark on a bar: of "
        "the valid ones, without padding."
    ),
    draw=draw,
)
