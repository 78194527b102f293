"""Figures of a report, one a file. A new one is a file and a line of the list below.

Each file draws one figure and declares it as `FIGURE`: its name, title and caption, and
whether it applies to a run. The page shows the figures in the order of the lists.
"""

from collections.abc import Sequence

from dst_jax.report.figures import (
    accuracy_against_sparsity,
    channels_per_group,
    energy_by_part,
    flops_drop,
    flops_per_layer,
    mask_updates,
    pixel_labels,
    rooflines,
    sparser_channels,
    sparsity_per_layer,
    speed_up,
    training_curves,
    widths_over_rounds,
)
from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.run_results import RunResults

__all__ = ["OF_A_RUN", "OF_SEVERAL_RUNS"]

OF_A_RUN: tuple[ReportFigure[RunResults], ...] = (
    sparsity_per_layer.FIGURE,
    training_curves.FIGURE,
    pixel_labels.FIGURE,
    flops_per_layer.FIGURE,
    channels_per_group.FIGURE,
    widths_over_rounds.FIGURE,
    mask_updates.FIGURE,
    sparser_channels.FIGURE,
    speed_up.FIGURE,
    rooflines.FIGURE,
    energy_by_part.FIGURE,
)

OF_SEVERAL_RUNS: tuple[ReportFigure[Sequence[RunResults]], ...] = (
    accuracy_against_sparsity.FIGURE,
    flops_drop.FIGURE,
)
