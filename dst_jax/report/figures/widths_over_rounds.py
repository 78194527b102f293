"""The figure of channels per group over the rounds of a stage."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.layer_rows import ROW, WIDTH, label_layers
from dst_jax.report.figures.style import styled, subplots
from dst_jax.report.run_results import RunResults, StageResults
from dst_jax.report.tables.per_layer import names

__all__ = ["FIGURE", "draw"]


@styled
def draw(run: RunResults) -> Figure:
    """A row per group, a column per round: the channels that are left, and their share.

    >>> from pathlib import Path
    >>> from dst_jax.report.channel_records import UnitCount
    >>> stage = StageResults(
    ...     "relaxation", "smaller", {"top1": 0.9}, 8,
    ...     channels={"conv1": UnitCount(8, 2)},
    ...     rounds={"search2": {"conv1": 4}, "finetune": {"conv1": 2}},
    ... )
    >>> (axes,) = draw(RunResults(Path("run"), (stage,))).axes
    >>> [text.get_text() for text in axes.texts]
    ['4', '2']
    """
    stages = _stages(run)
    groups = names([stage.channels for stage in stages])
    figure, found = subplots(WIDTH, 1.5 + ROW * len(groups), ncols=max(len(stages), 1))
    for axes, stage in zip(found, stages, strict=True):
        phases = list(stage.rounds)
        left = [
            [stage.rounds[phase].get(group, 0) for phase in phases] for group in groups
        ]
        shares = [
            [count / stage.channels[group].whole for count in row]
            for group, row in zip(groups, left, strict=True)
        ]
        image = np.array(shares)
        axes.imshow(image, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.grid(visible=False)
        for (row, column), share in np.ndenumerate(image):
            axes.text(
                *(column, row, str(left[row][column])),
                ha="center",
                va="center",
                fontsize=7,
                color="white" if share > 0.6 else "#3c4043",
            )
        axes.set(title=f"Channels that are left: {stage.title}")
        axes.set_xticks(range(len(phases)), phases)
        label_layers(axes, groups)
    return figure


def _stages(run: RunResults) -> Sequence[StageResults]:
    return [s for s in run.stages if len(s.rounds) > 1 and s.channels]


FIGURE = ReportFigure(
    name="widths_over_rounds",
    title="Channels over rounds",
    caption=(
        "Channels of every group after each round. Dark is the whole network, white is "
        "a group of which nothing is left."
    ),
    draw=draw,
    applies=lambda run: bool(_stages(run)),
)
