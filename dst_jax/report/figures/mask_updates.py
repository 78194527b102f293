"""The figure of a method's masks: how many weights it keeps, grows and drops."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import LINE, colours, styled, subplots
from dst_jax.report.run_results import RunResults

__all__ = ["FIGURE", "colour_of_phase", "draw", "lines_of_phases"]

_STROKES = {"grown": "-", "dropped": "--", "explored": ":"}


@styled
def draw(run: RunResults) -> Figure:
    """Density of every layer and of all, and what the last mask update exchanged.

    "Grown" and "dropped" are the weights that the latest update before a line of the
    log grew and dropped, in percent of those active after it: one-shot pruning to 40 %
    drops 150 %. "Explored" are weights that were ever active (ITOP's rate); only
    methods that track them have this line.

    >>> from pathlib import Path
    >>> from dst_jax.report.training_phases import phases
    >>> fc = {"density": 0.2, "active": 20, "weights": 100, "grown": 5, "dropped": 5}
    >>> line = {"stage": "rigl", "phase": "rigl", "epoch": 1.0, "layers": {"fc": fc}}
    >>> run = RunResults(Path("run"), (), phases=phases([line]), masks=(line,))
    >>> left, right = draw(run).axes
    >>> left.lines[-1].get_ydata().tolist(), right.lines[0].get_ydata().tolist()
    ([20.0], [25.0])
    """
    figure, (left, right) = subplots(10.0, 3.6, ncols=2)
    for label, lines in lines_of_phases(run).items():
        shade = colour_of_phase(run, lines)
        epochs = [line["epoch"] for line in lines]
        for layer in lines[-1]["layers"]:
            kept = [100 * line["layers"][layer]["density"] for line in lines]
            left.plot(epochs, kept, color=LINE, linewidth=0.7)
        kept = _shares(lines, "active", "weights")
        left.plot(epochs, kept, label=label, color=shade)
        shares = {name: _shares(lines, name, "active") for name in ("grown", "dropped")}
        if "exploration" in next(iter(lines[-1]["layers"].values())):
            shares["explored"] = [_explored(line) for line in lines]
        for name, values in shares.items():
            look: dict[str, Any] = {"color": shade, "linestyle": _STROKES[name]}
            right.plot(epochs, values, label=f"{label}, {name}", **look)
    left.set(title="Weights that are kept", xlabel="epochs since the run began")
    left.set_ylabel("of all weights, % (grey: of a layer)")
    right.set(title="Mask updates", xlabel="epochs since the run began", ylabel="%")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


FIGURE = ReportFigure(
    name="masks",
    title="Masks of sparse training",
    caption=(
        "What the method kept. Grown, dropped: by the latest update, in percent of "
        "what it kept, so more than 100 where more was dropped than kept. Explored: "
        "weights that were ever kept."
    ),
    draw=draw,
    applies=lambda run: bool(run.masks),
)


def lines_of_phases(run: RunResults) -> dict[str, list[dict[str, Any]]]:
    """The lines about masks of each phase, with epochs since the run's start.

    Args:
      run: the run.

    >>> from pathlib import Path
    >>> from dst_jax.report.training_phases import phases
    >>> line = {"stage": "rigl", "phase": "rigl", "epoch": 1.0, "layers": {}}
    >>> run = RunResults(Path("run"), (), phases=phases([line]), masks=(line,))
    >>> [line["epoch"] for line in lines_of_phases(run)["rigl"]]
    [1.0]
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for phase in run.phases:
        own = [
            {**line, "epoch": phase.start + line["epoch"]}
            for line in run.masks
            if (line["stage"], line["phase"]) == (phase.stage, phase.name)
        ]
        if own:
            found[phase.label] = own
    return found


def colour_of_phase(run: RunResults, lines: Sequence[Mapping[str, Any]]) -> str:
    """The colour of the stage that lines about masks belong to.

    Args:
      run: the run.
      lines: lines of one phase.

    >>> from pathlib import Path
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults("sparsify_weights", "pruned", {"top1": 0.9}, 8)
    >>> run = RunResults(Path("run"), (stage,))
    >>> colour_of_phase(run, [{"stage": "sparsify_weights"}])
    '#34468e'
    """
    name = str(lines[-1]["stage"])
    titles = {stage.name: stage.title for stage in run.stages}
    shown = titles.get(name, name)
    return colours([*titles.values(), shown])[shown]


def _shares(lines: Sequence[Mapping[str, Any]], part: str, whole: str) -> list[float]:
    """Percent, over all layers."""
    return [100 * _sum(line, part) / max(_sum(line, whole), 1) for line in lines]


def _sum(line: Mapping[str, Any], quantity: str) -> float:
    return sum(layer[quantity] for layer in line["layers"].values())


def _explored(line: Mapping[str, Any]) -> float:
    layers = line["layers"].values()
    seen = sum(layer["exploration"] * layer["weights"] for layer in layers)
    return 100 * seen / _sum(line, "weights")
