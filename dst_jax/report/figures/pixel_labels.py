"""The figure of images, their label maps and what the networks of a run say."""

import colorsys
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import styled, subplots
from dst_jax.report.picture_records import Pictures
from dst_jax.report.run_results import RunResults, StageResults

__all__ = ["FIGURE", "draw"]

_SIDE = 1.7
"""Inches of one image."""

_MOST_STAGES = 4
_IGNORED = (1.0, 1.0, 1.0)
_COMMON = (0.91, 0.92, 0.93)
"""Of the most frequent class, often a background."""

_GOLDEN = 0.618034
"""Part of the circle of hues between one class and the next."""


@styled
def draw(run: RunResults) -> Figure:
    """A row for each image: the image, its labels, the predictions by stage.

    Of more than four stages the first and the last three are shown.

    >>> from pathlib import Path
    >>> from dst_jax.report.picture_records import Picture, Pictures
    >>> square = np.zeros((4, 4), np.uint8)
    >>> found = Pictures((Picture(square, square, square + 1),), 2, None)
    >>> stage = StageResults("dense", "dense baseline", {}, 8, pictures=found)
    >>> figure = draw(RunResults(Path("run"), (stage,)))
    >>> [axes.get_title(loc="left") for axes in figure.axes]
    ['image', 'labels', 'dense baseline']
    """
    stages = _shown(run)
    known = [stage.pictures for stage in stages if stage.pictures is not None]
    rows, columns = min(len(found.examples) for found in known), 2 + len(known)
    truth = [example.label for example in known[0].examples[:rows]]
    said = [[example.predicted for example in found.examples] for found in known]
    seen = sorted({int(x) for m in (truth, *said) for x in np.unique(m[:rows])})
    palette = _palette(known[0], truth)
    lines = math.ceil(len(seen) / (2 * columns))
    height = _SIDE * rows + 0.3 + 0.2 * lines
    figure, axes = subplots(_SIDE * columns, height, nrows=rows, ncols=columns)
    for row, example in enumerate(known[0].examples[:rows]):
        maps = [truth[row], *(predicted[row] for predicted in said)]
        shown = [_as_rgb(example.image), *(palette[labels] for labels in maps)]
        for place, image in zip(axes[row * columns :], shown, strict=False):
            place.imshow(image, interpolation="nearest")
    titles = ["image", "labels", *(stage.title for stage in stages)]
    for place, title in zip(axes, titles, strict=False):
        place.set_title(title)
    for place in axes:
        place.set(xticks=[], yticks=[])
        place.spines[:].set_visible(False)
    _legend(figure, palette, seen, ignore=known[0].ignore, ncols=2 * columns)
    return figure


FIGURE = ReportFigure(
    name="pixel_labels",
    title="Images, labels and predictions",
    caption=(
        "The first test images, the class of each pixel, and what the network at the "
        "end of each stage says. Colours are classes, grey the most frequent one; "
        "white pixels do not count."
    ),
    draw=draw,
    applies=lambda run: any(_has_pictures(stage) for stage in run.stages),
)


def _has_pictures(stage: StageResults) -> bool:
    return stage.pictures is not None and len(stage.pictures.examples) > 0


def _shown(run: RunResults) -> Sequence[StageResults]:
    found = [stage for stage in run.stages if _has_pictures(stage)]
    if len(found) <= _MOST_STAGES:
        return found
    return [found[0], *found[1 - _MOST_STAGES :]]


def _palette(
    known: Pictures, truth: Sequence[UInt8[np.ndarray, "h w"]]
) -> Float[np.ndarray, "256 3"]:
    """A colour for every label; those of neighbouring classes are far apart."""
    palette = np.ones((256, 3))  # white
    for label in range(known.num_classes):
        value = (0.9, 0.65, 0.45)[label % 3]
        palette[label] = colorsys.hsv_to_rgb(label * _GOLDEN % 1.0, 0.75, value)
    counts = np.bincount(np.concatenate([m.ravel() for m in truth]), minlength=256)
    if known.ignore is not None:
        counts[known.ignore] = 0
        palette[known.ignore] = _IGNORED
    if counts.any():
        palette[counts.argmax()] = _COMMON
    return palette


def _as_rgb(image: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h w 3"]:
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def _legend(
    figure: Figure,
    palette: Float[np.ndarray, "256 3"],
    seen: Sequence[int],
    *,
    ignore: int | None,
    ncols: int,
) -> None:
    """The class of each colour, below the images."""
    handles = [
        Patch(
            facecolor=tuple(palette[label]),
            edgecolor="#9aa0a6",
            label="ignored" if label == ignore else str(label),
        )
        for label in seen
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=ncols, handlelength=1.0
    )
