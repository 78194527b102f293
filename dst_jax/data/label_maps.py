"""What the label maps of a data set hold: one label for every pixel."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Integer, UInt8

__all__ = ["LabelMaps"]

_NO_CLASS = -1


@dataclass(frozen=True)
class LabelMaps:
    """How the label maps of a data set are stored and read.

    Attributes:
      num_classes: number of classes, 1 to 256; labels are in [0, num_classes).
      ignore: label of pixels that do not count; None if there are none.
      outside: label of pixels that augmentation brings in from outside the image, a
        class or `ignore`.
      stored: pairs of a value in the files and the class, or `ignore`, that it stands
        for; None if they are the same. `ignore` always stands for itself.

    Raises:
      ValueError: a number is out of range.

    >>> LabelMaps(2, ignore=255, outside=7)
    Traceback (most recent call last):
    ValueError: outside must be a class in [0, 2) or ignore=255, got 7
    """

    num_classes: int
    ignore: int | None
    outside: int
    stored: tuple[tuple[int, int], ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= 256:
            raise ValueError(f"num_classes must be 1 to 256, got {self.num_classes}")
        if self.ignore is not None and not 0 <= self.ignore <= 255:
            raise ValueError(f"ignore must be 0 to 255, got {self.ignore}")
        if self.outside != self.ignore and not 0 <= self.outside < self.num_classes:
            raise ValueError(
                f"outside must be a class in [0, {self.num_classes}) or"
                f" ignore={self.ignore}, got {self.outside}"
            )

    def classes(self, values: Integer[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
        """The label of each pixel, from the values in a file.

        Raises:
          ValueError: a value stands for no class.

        >>> maps = LabelMaps(2, ignore=255, outside=255, stored=((1, 0), (2, 1)))
        >>> maps.classes(np.array([[1, 2, 255]])).tolist()
        [[0, 1, 255]]
        >>> maps.classes(np.array([[0]]))
        Traceback (most recent call last):
        ValueError: label 0 is not one of [1, 2, 255]
        """
        found = self._table[np.clip(values, 0, 256)]
        wrong = values[(found == _NO_CLASS) | (values < 0)]
        if wrong.size:
            allowed = np.flatnonzero(self._table != _NO_CLASS).tolist()
            raise ValueError(f"label {wrong[0]} is not {_in_words(allowed)}")
        return found.astype(np.uint8)

    @cached_property
    def _table(self) -> Integer[np.ndarray, "257"]:
        """The label that each value stands for; the last entry is for larger values."""
        table = np.full(257, _NO_CLASS, np.int16)
        same = tuple((label, label) for label in range(self.num_classes))
        for value, label in same if self.stored is None else self.stored:
            table[value] = label
        if self.ignore is not None:
            table[self.ignore] = self.ignore
        return table


def _in_words(values: list[int]) -> str:
    """Numbers in words: a range if they have no gap.

    >>> _in_words([0, 1, 2]), _in_words([0, 1, 255])
    ('in [0, 2]', 'one of [0, 1, 255]')
    """
    if len(values) > 2 and values == list(range(values[0], values[-1] + 1)):
        return f"in [{values[0]}, {values[-1]}]"
    return f"one of {values}"
