"""Several digits on a canvas, and which digit each pixel belongs to."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from dst_jax.data import images
from dst_jax.data.corrupt import CorruptLog, CorruptRecord
from dst_jax.data.recipes import Recipe
from dst_jax.data.records import DecodedRecords, Example, Records

__all__ = ["BACKGROUND", "compose"]

BACKGROUND = 10
"""The class of pixels that belong to no digit."""

_FEWEST, _MOST = 2, 5
"""Digits on a canvas."""

_ATTEMPTS = 10
"""Random places tried for a digit before it is left out."""


def compose(
    digits: Records,
    photographs: Records | None,
    *,
    recipe: Recipe,
    n: int,
    size: int,
    log: CorruptLog,
    seed: int,
) -> DecodedRecords:
    """Canvases with up to five digits each, the same for the same seed.

    Two to five digits are drawn, each of a random side, a quarter to a half of the
    canvas's, of a random light colour and at a random place; one that finds no free
    place in ten attempts is left out. A pixel belongs to a digit where it has at least
    half of its ink, and to the background (class 10) elsewhere.

    Args:
      digits: digits, white on black, uint8[h, h, 1].
      photographs: images that are drawn on, uint8[size, size, channels], each once as
        long as there are enough; None for black canvases.
      recipe: recipe of the canvases.
      n: number of canvases.
      size: side of the canvases in pixels.
      log: log of corrupt records, which are left out.
      seed: seed of all that is random.

    >>> from dst_jax.data.digits import load_digits
    >>> from dst_jax.data.recipes import recipe_of
    >>> digits, _ = load_digits(recipe_of("digits"), size=16)
    >>> drawn = compose(
    ...     digits, None, recipe=recipe_of("digits_canvas"), n=3, size=32,
    ...     log=CorruptLog(0), seed=0)
    >>> drawn.images.shape, drawn.labels.shape, int(drawn.labels.max())
    ((3, 32, 32, 1), (3, 32, 32), 10)
    """
    # RandomState, unlike Generator, promises the same numbers in every NumPy.
    rng = np.random.RandomState(seed)
    canvases = np.zeros((n, size, size, recipe.channels), np.uint8)
    labels = np.full((n, size, size), BACKGROUND, np.uint8)
    below = None if photographs is None else _in_random_order(photographs, rng, log)
    ink = _in_random_order(digits, rng, log)
    for canvas, label in zip(canvases, labels, strict=True):
        if below is not None:
            canvas[:] = next(below).image
        for _ in range(rng.randint(_FEWEST, _MOST + 1)):
            _draw(canvas, label, next(ink), rng)
    return DecodedRecords(canvases, labels, recipe.augment, {}, recipe.outside)


def _draw(
    canvas: UInt8[np.ndarray, "size size c"],
    labels: UInt8[np.ndarray, "size size"],
    digit: Example,
    rng: np.random.RandomState,
) -> None:
    size, _, channels = canvas.shape
    side = rng.randint(max(1, size // 4), max(1, size // 2) + 1)
    colour = rng.randint(128, 256, size=channels)
    ink = images.resize(digit.image, side).astype(np.float32) / 255
    for _ in range(_ATTEMPTS):
        top, left = rng.randint(size - side + 1, size=2)
        place = (slice(top, top + side), slice(left, left + side))
        if (labels[place] == BACKGROUND).all():
            canvas[place] = np.rint(canvas[place] * (1 - ink) + colour * ink)
            labels[place][ink[:, :, 0] >= 0.5] = digit.label
            return


def _in_random_order(
    records: Records, rng: np.random.RandomState, log: CorruptLog
) -> Iterator[Example]:
    """The readable examples, over and over, each time in another order.

    Raises:
      ValueError: none is readable, or more are corrupt than the log allows.
    """
    found = True
    while found:
        found = False
        for index in rng.permutation(len(records)):
            try:
                example = records.example(int(index))
            except CorruptRecord as record:
                log.add(record)
                continue
            found = True
            yield example
    raise ValueError("no record is readable")
