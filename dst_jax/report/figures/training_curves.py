"""The figure of training: the task's best metric and the sparsity over the epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import INK, QUIET, colours, styled, subplots
from dst_jax.report.run_results import RunResults
from dst_jax.report.training_phases import Phase, stage_ends

__all__ = ["FIGURE", "draw"]


@styled
def draw(run: RunResults) -> Figure:
    """The best metric and the sparsity over the epochs of all phases (Fig. 3).

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults("pretrain", "dense baseline", {"top1": 0.75}, 8)
    >>> top, bottom = draw(RunResults(Path("run"), (stage,))).axes
    >>> top.lines[0].get_label(), top.lines[0].get_ydata().tolist()
    ('test, end of stage', [75.0])
    """
    figure, (top, bottom) = subplots(10.0, 5.6, nrows=2, sharex=True)
    ends = stage_ends(run.phases, [s.name for s in run.stages])
    x = [ends[s.name] for s in run.stages]
    _draw_metric(top, run, ends)
    _draw_sparsity(bottom, run, x)
    end = max([phase.start + phase.epochs for phase in run.phases] + x)
    for axes in (top, bottom):
        # From the start of the run, where the first phase has its name.
        axes.set_xlim(-0.02 * (end or 1), 1.02 * (end or 1))
        _shade(axes, run)
        _boundaries(axes, run.phases, text=axes is top)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=4)
    return figure


FIGURE = ReportFigure(
    name="training",
    title="{measure} and sparsity over training",
    caption=(
        "Phases one after another in the order of the log; a dotted line marks where "
        "one starts, and the shade is the colour of its stage. Diamonds: the test "
        "images, at the end of a stage. The {measure} axis starts at most 20 points "
        "below the lowest of them."
    ),
    draw=draw,
)


def _draw_metric(axes: Axes, run: RunResults, ends: Mapping[str, float]) -> None:
    """The best metric: of the training batches, the hold-out, the test images."""
    best, scale = run.task.best, run.task.best.scale
    batches = run.task.training
    _curve(axes, run.phases, "train", batches, QUIET, "training batches", scale)
    _curve(axes, run.phases, "eval", best.name, INK, "hold-out", scale)
    x = [ends[s.name] for s in run.compared]
    tested = [scale * s.test[best.name] for s in run.compared]
    _diamonds(axes, x, tested, INK, "test, end of stage")
    axes.set(title=run.task.words("{measure}"), ylabel=best.label)
    if best.is_share and tested:
        axes.set_ylim(bottom=max(axes.get_ylim()[0], min(tested) - 20))


def _draw_sparsity(axes: Axes, run: RunResults, ends: Sequence[float]) -> None:
    maps = [100 * s.activation_element for s in run.stages]
    name = "activation_sparsity"
    _curve(axes, run.phases, "eval", name, INK, "activations, hold-out")
    _diamonds(axes, ends, maps, INK, "activations (element), test")
    kernels = [100 * s.weight_sparsity for s in run.stages]
    _curve(axes, run.phases, "eval", "weight_sparsity", QUIET, "weights")
    _diamonds(axes, ends, kernels, QUIET, "weights, end of stage")
    axes.set(title="Sparsity", ylabel="zeros, %", xlabel="epochs since the run began")
    axes.set_ylim(-3, 103)


def _curve(
    axes: Axes,
    phases: Sequence[Phase],
    kind: str,
    quantity: str,
    colour: str,
    label: str | None,
    scale: float = 100.0,
) -> None:
    """One line per phase, so that no line is drawn across a boundary."""
    for phase in phases:
        epochs, values = phase.curve(kind, quantity)
        dots = kind == "eval" or len(values) == 1
        look: dict[str, Any] = {"marker": "." if dots else None}
        look["linewidth"] = None if kind == "eval" else 0.8
        if values:
            shown = [scale * value for value in values]
            axes.plot(epochs, shown, color=colour, label=label, **look)
            label = None


def _diamonds(
    axes: Axes, x: Sequence[float], y: Sequence[float], colour: str, label: str
) -> None:
    """What the evaluation at the end of each stage found."""
    look: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "zorder": 3}
    axes.plot(x, y, "D", color=colour, label=label, **look)


def _shade(axes: Axes, run: RunResults) -> None:
    """A stripe along the bottom in the colour of the stage that is trained."""
    titles = {stage.name: stage.title for stage in run.stages}
    shades = colours([*titles.values(), *(phase.stage for phase in run.phases)])
    for phase in run.phases:
        end = phase.start + phase.epochs
        shade = shades[titles.get(phase.stage, phase.stage)]
        axes.axvspan(phase.start, end, color=shade, alpha=0.1, linewidth=0)
        axes.axvspan(phase.start, end, ymax=0.02, color=shade, linewidth=0)


def _boundaries(axes: Axes, phases: Sequence[Phase], *, text: bool) -> None:
    """A vertical line where a phase starts, and its name next to it."""
    for phase in phases:
        if phase.start > 0:
            look = {"color": "#9aa0a6", "linewidth": 0.9, "linestyle": ":"}
            axes.axvline(phase.start, **look, zorder=1.5)
        if text:
            name = axes.annotate(
                phase.label,
                (phase.start, 1),
                xycoords=axes.get_xaxis_transform(),
                xytext=(3, -2),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=7,
                color="#5f6368",
                zorder=1.8,  # under the curves
                bbox={"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
            )
            name.set_in_layout(False)  # it takes no room from the axes
