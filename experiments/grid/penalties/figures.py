"""The figures of a comparison."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dst_jax.report.figures.style import (
    colours,
    legend_at_right,
    plain_ticks,
    styled,
    subplots,
)
from dst_jax.report.looks import MARKERS, family, looks
from experiments.grid.penalties.choice import Choice, sparsity
from experiments.grid.penalties.settings import Setting
from experiments.grid.records import Record, matching, spread
from experiments.running.quality import Quality

__all__ = ["curves", "fronts", "shapes"]

_STROKES = ("-", "--", "-.", ":")


@styled
def fronts(
    settings: Sequence[Setting],
    records: Sequence[Record],
    choices: Sequence[Choice],
    quality: Quality,
) -> Figure:
    """Hold-out quality over sparsity: a line per penalty, shape and FATReLU budget.

    A penalty has one colour, its shapes have markers of which the first is its own,
    hollow ones with FATReLU. Bars are one sample standard deviation over seeds; the
    chosen settings are ringed.

    Args:
      settings: the grid.
      records: records of its cells, of the baseline and of the control.
      choices: one per method.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> cells = "baseline", "control", "l1_0.5"
    >>> shares = {"top1": 0.9, "activation_sparsity": {"element": 0.6}}
    >>> records = [{"cell": cell, **shares} for cell in cells]
    >>> quality = quality_of(tasks.classification())
    >>> figure = fronts([Setting("l1", 0.5)], records, [], quality)
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['dense baseline', 'dense control', 'l1']
    """
    figure, (axes,) = subplots(10.0, 5.5)
    scale = quality.metric.scale
    lines: dict[tuple[str, Any, float | None], list[Setting]] = {}
    for setting in settings:
        key = setting.penalty, setting.options, setting.budget
        lines.setdefault(key, []).append(setting)
    drawn = looks([penalty for penalty, *_ in lines])
    markers = _markers([(penalty, options) for penalty, options, _ in lines])
    for (penalty, options, budget), line in lines.items():
        own = [matching(records, setting.name) for setting in line]
        x, y = [spread(r, sparsity) for r in own], [spread(r, quality) for r in own]
        shape = " ".join(f"{name}={value:g}" for name, value in options)
        thresholds = "" if budget is None else f"+ FATReLU {budget:g}"
        axes.errorbar(
            [100 * v.mean for v in x],
            [scale * v.mean for v in y],
            xerr=[100 * v.std for v in x],
            yerr=[scale * v.std for v in y],
            color=drawn[penalty].colour,
            label=" ".join(filter(None, (penalty, shape, thresholds))),
            linestyle="-" if budget is None else ":",
            marker=markers[penalty, options],
            markerfacecolor=drawn[penalty].colour if budget is None else "white",
            markersize=4,
            elinewidth=0.7,
            alpha=0.9,
        )
    _mark(axes, records, choices, quality)
    axes.set(
        title=f"{quality.measure.capitalize()} against activation sparsity, hold-out",
        xlabel="activation sparsity (element), %",
        ylabel=quality.metric.label,
    )
    legend_at_right(axes)
    return figure


@styled
def curves(evals: Mapping[str, Sequence[Record]], quality: Quality) -> Figure:
    """Quality and sparsity on the hold-out over epochs, a line per name.

    Args:
      evals: lines of kind "eval" of metrics.jsonl by name, in the order of training;
        a name without any is left out.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> line = {"epoch": 1.0, "top1": 0.9, "activation_sparsity": 0.6}
    >>> figure = curves({"l1": [line], "l2": []}, quality_of(tasks.classification()))
    >>> [len(axes.lines) for axes in figure.axes]
    [1, 1]
    """
    figure, (left, right) = subplots(10.0, 4.0, ncols=2)
    trained = {name: lines for name, lines in evals.items() if lines}
    families = {name: family(name) for name in trained}
    palette = colours(list(families.values()))
    strokes = _strokes([(penalty, name) for name, penalty in families.items()])
    for name, lines in trained.items():
        penalty = families[name]
        look: dict[str, Any] = {
            "color": palette[penalty],
            "linestyle": strokes[penalty, name],
        }
        epochs = [line["epoch"] for line in lines]
        qualities = [quality.metric.scale * quality(line) for line in lines]
        zeros = [100 * line["activation_sparsity"] for line in lines]
        for axes, values in ((left, qualities), (right, zeros)):
            axes.plot(epochs, values, label=name, **look)
    _name(left, f"{quality.measure.capitalize()}, hold-out", quality.metric.label)
    _name(right, "Activation sparsity, hold-out", "zeros (element), %")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=4
    )
    return figure


@styled
def shapes(
    settings: Sequence[Setting], records: Sequence[Record], quality: Quality
) -> Figure:
    """Quality and sparsity over a shape parameter, a line per penalty and strength.

    Args:
      settings: with one shape parameter each.
      records: records of all of them.
      quality: the metric of the task.

    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> settings = [Setting("mcp", 0.5, (("gamma", value),)) for value in (2.0, 3.0)]
    >>> shares = {"top1": 0.9, "activation_sparsity": {"element": 0.6}}
    >>> records = [{"cell": setting.name, **shares} for setting in settings]
    >>> figure = shapes(settings, records, quality_of(tasks.classification()))
    >>> figure.axes[0].get_xlabel()
    'shape parameter'
    """
    figure, (left, right) = subplots(10.0, 4.0, ncols=2)
    lines: dict[tuple[str, float | None], list[Setting]] = {}
    for setting in settings:
        lines.setdefault((setting.penalty, setting.strength), []).append(setting)
    drawn = looks([penalty for penalty, _ in lines])
    strokes = _strokes(list(lines))
    for (penalty, strength), line in lines.items():
        x = [setting.options[0][1] for setting in line]
        scales = quality.metric.scale, 100
        for axes, value, scale in zip(
            (left, right), (quality, sparsity), scales, strict=True
        ):
            found = [spread(matching(records, s.name), value) for s in line]
            axes.errorbar(
                x,
                [scale * v.mean for v in found],
                yerr=[scale * v.std for v in found],
                color=drawn[penalty].colour,
                linestyle=strokes[penalty, strength],
                marker=drawn[penalty].marker,
                markersize=4,
                elinewidth=0.7,
                label=f"{penalty} {strength:g}",
            )
            axes.set_xscale("log")
            plain_ticks(axes.xaxis)
    title = f"{quality.measure.capitalize()}, hold-out"
    _name(left, title, quality.metric.label, "shape parameter")
    _name(
        right, "Activation sparsity, hold-out", "zeros (element), %", "shape parameter"
    )
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=4
    )
    return figure


def _mark(
    axes: Axes,
    records: Sequence[Record],
    choices: Sequence[Choice],
    quality: Quality,
) -> None:
    """Rings the chosen settings and draws the baseline and the control."""
    scale = quality.metric.scale
    for i, choice in enumerate(choices):
        point = 100 * choice.sparsity.mean, scale * choice.quality.mean
        label = None if i else "chosen"
        ring: dict[str, Any] = {
            "ms": 11,
            "mfc": "none",
            "mec": "black",
            "mew": 1.0,
            "zorder": 4,
        }
        axes.plot(*point, "o", label=label, **ring)
    for name in ("baseline", "control"):
        own = matching(records, name)
        point = 100 * spread(own, sparsity).mean, scale * spread(own, quality).mean
        look = looks([name])[name]
        label = f"dense {name}"
        axes.plot(*point, look.marker, color=look.colour, ms=7, label=label, zorder=4)


def _name(axes: Axes, title: str, y: str, x: str = "epochs") -> None:
    axes.set(title=title, xlabel=x, ylabel=y)


def _markers(keys: Sequence[tuple[str, Any]]) -> dict[Any, str]:
    """A marker for each variant of a penalty: its own, then those that follow it."""
    own = looks([penalty for penalty, _ in keys])
    return {
        key: MARKERS[(MARKERS.index(own[key[0]].marker) + place) % len(MARKERS)]
        for key, place in _places(keys).items()
    }


def _strokes(keys: Sequence[tuple[str, Any]]) -> dict[Any, str]:
    """A stroke for each variant of a penalty, in their order."""
    return {k: _STROKES[place % len(_STROKES)] for k, place in _places(keys).items()}


def _places(keys: Sequence[tuple[str, Any]]) -> dict[Any, int]:
    """The place of each variant among those of its penalty."""
    variants: dict[str, list[Any]] = {}
    for penalty, variant in dict.fromkeys(keys):
        variants.setdefault(penalty, []).append(variant)
    return {
        (penalty, variant): i
        for penalty, own in variants.items()
        for i, variant in enumerate(own)
    }
