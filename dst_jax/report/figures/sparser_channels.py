"""The figure of channels that are sparser than the average of their layer."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.mask_updates import colour_of_phase, lines_of_phases
from dst_jax.report.figures.style import styled, subplots
from dst_jax.report.run_results import RunResults

__all__ = ["FIGURE", "draw", "has_channels", "share_of_channels"]


def share_of_channels(
    line: Mapping[str, Any], quantity: str = "sparser_channels"
) -> float:
    """The share of all channels that are sparser than the average of their layer.

    Args:
      line: line of masks.jsonl, see `dst_jax.runs`.
      quantity: "sparser_channels", or "empty_channels" for those without a weight.

    >>> fc = {"channels": 10, "sparser_channels": 6, "empty_channels": 1}
    >>> share_of_channels({"layers": {"fc": fc}})
    0.6
    """
    layers = line["layers"].values()
    return sum(x[quantity] for x in layers) / sum(x["channels"] for x in layers)


def has_channels(line: Mapping[str, Any]) -> bool:
    """Whether channels were counted, which older runs did not.

    Args:
      line: line of masks.jsonl.

    >>> has_channels({"layers": {"fc": {"channels": 10}}})
    False
    """
    layers = line["layers"].values()
    return bool(layers) and all("sparser_channels" in layer for layer in layers)


@styled
def draw(run: RunResults) -> Figure:
    """Channels that are sparser than their layer, over epochs and by layer at the end.

    >>> from pathlib import Path
    >>> from dst_jax.report.training_phases import phases
    >>> fc = {"channels": 10, "sparser_channels": 6, "empty_channels": 1}
    >>> line = {"stage": "rigl", "phase": "rigl", "epoch": 1.0, "layers": {"fc": fc}}
    >>> run = RunResults(Path("run"), (), phases=phases([line]), masks=(line,))
    >>> left, right = draw(run).axes
    >>> [line.get_ydata().tolist() for line in left.lines]
    [[60.0], [10.0]]
    """
    figure, (left, right) = subplots(10.0, 3.6, ncols=2)
    for label, lines in lines_of_phases(run).items():
        own = [line for line in lines if has_channels(line)]
        if not own:
            continue
        shade = colour_of_phase(run, own)
        epochs = [line["epoch"] for line in own]
        for quantity, style in (("sparser", "-"), ("empty", "--")):
            shares = [100 * share_of_channels(x, f"{quantity}_channels") for x in own]
            look: dict[str, Any] = {"color": shade, "linestyle": style}
            left.plot(epochs, shares, label=f"{label}, {quantity}", **look)
        of_layers = [
            100 * layer["sparser_channels"] / max(layer["channels"], 1)
            for layer in own[-1]["layers"].values()
        ]
        layers = range(1, len(of_layers) + 1)
        right.plot(layers, of_layers, marker="o", label=label, color=shade)
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.set(title="Of all layers", xlabel="epochs since the run began")
    left.set_ylabel("of the channels, %")
    right.set(title="Sparser at the end, by layer", xlabel="layer", ylabel="%")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


FIGURE = ReportFigure(
    name="sparser_channels",
    title="Channels that are sparser than their layer",
    caption=(
        "A channel is an output of a layer. Sparser: it keeps a smaller share of its "
        "weights than the layer. Empty: it keeps none. Layers are in the order of "
        "their names."
    ),
    draw=draw,
    applies=lambda run: any(map(has_channels, run.masks)),
)
