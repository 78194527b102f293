"""The figures of several runs: accuracy against sparsity, multiplications saved."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dst_jax.report.figures.style import colour, colours, styled, subplots
from dst_jax.report.results import Results
from dst_jax.report.tables.comparison import run_names

__all__ = ["accuracy_against_sparsity", "flops_drop"]

MARKERS = "osD^vPX*"


@styled
def accuracy_against_sparsity(runs: Sequence[Results]) -> Figure:
    """Top-1 over activation sparsity: a colour per run, a marker per stage."""
    figure, (axes,) = subplots(10.0, 5.0)
    titles = _titles(runs)
    markers = {title: MARKERS[i % len(MARKERS)] for i, title in enumerate(titles)}
    for i, run in enumerate(runs):
        points = {
            s.title: (100 * s.activation_element, 100 * s.test.top1) for s in run.stages
        }
        for title, point in points.items():
            marker = markers[title]
            axes.plot(*point, marker, ms=8, color=colour(i), markeredgecolor="w")
        # The control is a side branch: no later stage starts from it.
        path = [point for title, point in points.items() if title != "dense control"]
        axes.plot(*zip(*path, strict=True), color=colour(i), linewidth=1, alpha=0.5)
    axes.set(
        title="Accuracy against activation sparsity",
        xlabel="activation sparsity (element), %",
        ylabel="test top-1, %",
    )
    handles = [
        *(
            Line2D([], [], color=colour(i), label=n)
            for i, n in enumerate(run_names(runs))
        ),
        *(
            Line2D([], [], color="#5f6368", linestyle="", marker=m, label=title)
            for title, m in markers.items()
        ),
    ]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@styled
def flops_drop(runs: Sequence[Results]) -> Figure:
    """Multiplications saved: a group of bars per run, a bar per stage."""
    bars = sum(len(run.stages) for run in runs)
    figure, (axes,) = subplots(10.0, 1.2 + 0.2 * bars + 0.15 * len(runs))
    palette = colours(_titles(runs))
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
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _titles(runs: Sequence[Results]) -> list[str]:
    return list(dict.fromkeys(stage.title for run in runs for stage in run.stages))
