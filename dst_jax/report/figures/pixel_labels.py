"""The figure of images, their label maps and what the networks of a run say."""

import colorsys
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dst_jax.report.figures.figure import ReportFigure
from dst_jax.report.figures.style import styled, subplots
from dst_jax.report.run_results import RunResults, StageResults

__all__ = ["FIGURE", "draw"]

_SIDE = 1.7
"""Inches of one image."""

_MOST_STAGES = 4
_IGNORED = (1.0, 1.0, 1.0)
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
    >>> [axes.get_title() for axes in figure.axes]
    ['image', 'labels', 'dense baseline']
    """
    stages = _shown(run)
    known = [stage.pictures for stage in stages if stage.pictures is not None]
    rows = min(len(pictures.examples) for pictures in known)
    columns = 2 + len(known)
    figure, axes = subplots(
        _SIDE * columns, _SIDE * rows + 0.6, nrows=rows, ncols=columns
    )
    classes, ignore = known[0].num_classes, known[0].ignore
    palette = _palette(classes, ignore)
    seen: set[int] = set()
    for row in range(rows):
        first = known[0].examples[row]
        maps = [first.label, *(pictures.examples[row].predicted for pictures in known)]
        seen.update(*(np.unique(labels).tolist() for labels in maps))
        shown = [_grey_as_rgb(first.image), *(palette[labels] for labels in maps)]
        for place, image in zip(axes[row * columns :], shown, strict=False):
            place.imshow(image, interpolation="nearest")
    titles = ["image", "labels", *(stage.title for stage in stages)]
    for place, title in zip(axes, titles, strict=False):
        place.set_title(title)
    for place in axes:
        place.set(xticks=[], yticks=[])
        place.spines[:].set_visible(False)
    figure.legend(
        handles=[
            Patch(
                facecolor=palette[label],
                edgecolor="#9aa0a6",
                label="ignored" if label == ignore else str(label),
            )
            for label in sorted(seen)
        ],
        loc="outside lower center",
        ncols=12,
    )
    return figure


FIGURE = ReportFigure(
    name="pixel_labels",
    title="Images, labels and predictions",
    caption=(
        "The first test images, the class of each pixel, and what the network at the "
        "end of each stage says. Colours are classes; white pixels do not count."
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


def _palette(classes: int, ignore: int | None) -> Float[np.ndarray, "256 3"]:
    """A colour for every label; those of neighbouring classes are far apart."""
    palette = np.ones((256, 3))
    for label in range(classes):
        value = (0.9, 0.65, 0.45)[label % 3]
        palette[label] = colorsys.hsv_to_rgb(label * _GOLDEN % 1.0, 0.75, value)
    if ignore is not None:
        palette[ignore] = _IGNORED
    return palette


def _grey_as_rgb(image: UInt8[np.ndarray, "h w *c"]) -> UInt8[np.ndarray, "h w 3"]:
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
