"""What is found in the images of a set that has no recipe: sizes, colours, statistics.

Of a large set, 2,000 images are looked at: the same ones every time.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from dst_jax.data import images
from dst_jax.data.corrupt import CorruptLog, CorruptRecord, reading
from dst_jax.data.options import choose_threads
from dst_jax.data.records import Records
from dst_jax.data.source import Source, read_record, record_key

__all__ = ["MOST_IMAGES", "Properties", "Statistics", "properties_of", "statistics_of"]

MOST_IMAGES = 2000
"""Images that are looked at: the mean of as many photographs is within 0.01 or so."""

_SMALL = 64
"""Largest side of images that are taken whole, if all are squares of that side."""

_SEED = 0


class Properties(NamedTuple):
    """What the images of a set have in common.

    Attributes:
      side: side of all images, if they are squares of one side, at most 64 pixels.
      channels: 1 if all images are grey, else 3.
    """

    side: int | None
    channels: int


class Statistics(NamedTuple):
    """Mean and standard deviation of pixels / 255, by channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def properties_of(source: Source, name: str) -> Properties:
    """What the images of a source have in common, from at most 2,000 headers.

    Args:
      source: data source.
      name: name of the split, for messages. Images that cannot be read are left out.

    Raises:
      ValueError: none of the images can be read; gives the reason for the last one.

    >>> pixels = np.zeros((8, 8), np.uint8)
    >>> properties_of([{"image": pixels, "label": 0}], "mine train")
    Properties(side=8, channels=1)
    """
    headers: list[images.Header] = []
    last: CorruptRecord | None = None
    for index in _some(len(source)):
        try:
            record = read_record(source, int(index), name)
            with reading(record_key(name, int(index), record)):
                headers.append(images.header(record["image"]))
        except CorruptRecord as error:
            last = error
    if not headers:
        raise ValueError(f"no image of {name} is readable; the last one is {last}")
    sides = {side for found in headers for side in (found.width, found.height)}
    small = len(sides) == 1 and max(sides) <= _SMALL
    grey = all(found.grey for found in headers)
    return Properties(min(sides) if small else None, 1 if grey else 3)


def statistics_of(records: Records, *, name: str, log: CorruptLog) -> Statistics:
    """Mean and deviation of the pixels of at most 2,000 images, as evaluation has them.

    The sums are exact integers. The deviation is over all pixels, not a mean of those
    of the images; where it is 0, as of a channel that is always black, it is given
    as 1.

    Args:
      records: records of the training split.
      name: name of the split, for messages.
      log: log of corrupt records, which are left out.

    Raises:
      ValueError: no image is readable, or more are corrupt than `log` allows.

    >>> from dst_jax.data.records import DecodedRecords
    >>> pixels = np.array([[[[0]]], [[[255]]]], np.uint8)
    >>> records = DecodedRecords(pixels, np.zeros(2, np.int32), (), {})
    >>> statistics_of(records, name="mine train", log=CorruptLog(0))
    Statistics(mean=(0.5,), std=(0.5,))
    """
    total = squares = np.zeros(1, np.int64)
    count = 0
    for pixels in _readable(records, log):
        total = total + pixels.sum(axis=0)
        squares = squares + (pixels * pixels).sum(axis=0)
        count += len(pixels)
    if not count:
        raise ValueError(f"no image of {name} is readable")
    mean = [int(x) / (255 * count) for x in total]
    # count * squares - total ** 2 is exact in Python's integers.
    spread = [
        (count * int(s) - int(t) ** 2) ** 0.5 / (255 * count)
        for s, t in zip(squares, total, strict=True)
    ]
    return Statistics(tuple(mean), tuple(x or 1.0 for x in spread))


def _readable(
    records: Records, log: CorruptLog
) -> Iterator[Int[np.ndarray, "pixels c"]]:
    """The pixels of each image that can be read."""

    def pixels(index: int) -> np.ndarray | None:
        try:
            image = records.example(index).image
        except CorruptRecord as error:
            log.add(error)
            return None
        return image.reshape(-1, image.shape[-1]).astype(np.int64)

    with ThreadPoolExecutor(choose_threads(None)) as pool:
        chosen = _some(len(records)).tolist()
        for start in range(0, len(chosen), 64):  # few are kept at the same time
            found = pool.map(pixels, chosen[start : start + 64])
            yield from (image for image in found if image is not None)


def _some(n: int) -> Int[np.ndarray, " m"]:
    """Indices of the images that are looked at, in order."""
    # RandomState, unlike Generator, promises the same numbers in every NumPy.
    chosen = np.random.RandomState(_SEED).permutation(n)[:MOST_IMAGES]
    return np.sort(chosen)
