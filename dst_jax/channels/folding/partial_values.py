"""Values of which some positions are known: constants that depend on no input."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from dst_jax.channels.axis_units import Bools

__all__ = ["Numbers", "PartialValue", "ValueShape", "known", "stretched", "unknown"]

Numbers = np.ndarray[Any, np.dtype[Any]]
ValueShape = tuple[int, ...]


class PartialValue(NamedTuple):
    """What is known of a value.

    Both arrays have the rank of the value and 1 in place of the length of every axis
    along which nothing differs.

    Attributes:
      number: the number at every position; any where it is not known.
      known: whether it is known.
    """

    number: Numbers
    known: Bools

    @property
    def whole(self) -> bool:
        """Whether all positions are known.

        >>> known(np.ones(2)).whole, unknown(1).whole
        (True, False)
        """
        return bool(self.known.all())

    @property
    def zero(self) -> Bools:
        """Where the value is known to be 0.

        >>> known(np.array([0.0, 2.0])).zero.tolist()
        [True, False]
        """
        return self.known & (self.number == 0)


def known(array: Any) -> PartialValue:
    """A value that is known everywhere.

    >>> known(np.array([1.0, 2.0])).known.tolist()
    [True]
    """
    number = np.asarray(array)
    return PartialValue(number, np.ones((1,) * number.ndim, bool))


def unknown(rank: int, dtype: Any = np.float32) -> PartialValue:
    """A value of which nothing is known.

    >>> unknown(2).known.tolist()
    [[False]]
    """
    return PartialValue(np.zeros((1,) * rank, dtype), np.zeros((1,) * rank, bool))


def stretched(array: Numbers, axes: Sequence[int], shape: Sequence[int]) -> Numbers:
    """An array with these axes as long as in the value.

    >>> stretched(np.ones((1, 1)), [1], (5, 3)).shape
    (1, 3)
    """
    sizes = [shape[i] if i in axes else n for i, n in enumerate(array.shape)]
    return np.broadcast_to(array, sizes)
