"""The figure of channels per group, before and after removal."""

from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.layer_rows import (
    ROW,
    WIDTH,
    draw_layers,
    stage_legend,
)
from dst_jax.report.figures.style import BAR, styled, subplots
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables.per_layer import names

__all__ = ["FIGURE", "draw"]


@styled
def draw(run: RunResults) -> Figure:
    """Channels that are kept of every group, per stage.

    >>> from pathlib import Path
    >>> from dst_jax.report.channel_records import UnitCount
    >>> from dst_jax.report.run_results import StageResults
    >>> stage = StageResults(
    ...     "remove_channels", "smaller", {"top1": 0.9}, 8,
    ...     channels={"conv1": UnitCount(8, 2)}
    ... )
    >>> (axes,) = draw(RunResults(Path("run"), (stage,))).axes
    >>> axes.collections[-1].get_offsets().tolist()  # channels, row
    [[2.0, 0.0]]
    """
    stages = [stage for stage in run.stages if stage.channels]
    whole = {g: c.whole for stage in stages for g, c in stage.channels.items()}
    groups = names([stage.channels for stage in stages])
    figure, (axes,) = subplots(WIDTH, 1.5 + ROW * len(groups), ncols=1)
    axes.barh(
        range(len(groups)),
        [whole[group] for group in groups],
        color=BAR,
        label="whole network",
    )
    draw_layers(
        axes,
        {s.title: {g: float(c.kept) for g, c in s.channels.items()} for s in stages},
    )
    axes.set(title="Channels that are kept", xlabel="channels")
    axes.set_xlim(left=0)
    stage_legend(figure, axes)
    return figure


FIGURE = ReportFigure(
    name="channels_per_group",
    title="Channels per group",
    caption=(
        "Channels that go together are a group, named by the first layer that makes "
        "them. The bar is the whole network."
    ),
    draw=draw,
    applies=lambda run: any(stage.channels for stage in run.stages),
)
