"""How many units a group may keep, and which these are."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["AllowedCounts", "largest"]


@dataclass(frozen=True)
class AllowedCounts:
    """The numbers of units that a group may keep.

    Attributes:
      allowed: the numbers, ascending; the last is the size of the group.
      loss: for each of them, the sum of the scores that are given up.
    """

    allowed: tuple[int, ...]
    loss: tuple[float, ...]

    @classmethod
    def of(
        cls, scores: Float[np.ndarray, " units"], *, floor: int, multiple_of: int
    ) -> "AllowedCounts":
        """Multiples that are not below a floor, and the whole group.

        >>> AllowedCounts.of(np.array([1.0, 2.0, 4.0]), floor=1, multiple_of=2)
        AllowedCounts(allowed=(2, 3), loss=(1.0, 0.0))
        """
        size = scores.size
        multiples = range(multiple_of, size, multiple_of)
        allowed = [*(n for n in multiples if n >= floor), size]
        lost = np.concatenate([[0.0], np.cumsum(np.sort(scores))])
        return cls(tuple(allowed), tuple(float(lost[size - n]) for n in allowed))

    def up(self, number: int) -> int:
        """The smallest number that is allowed and not below another.

        >>> AllowedCounts((8, 16, 20), (2.0, 1.0, 0.0)).up(9)
        16
        """
        return next(n for n in self.allowed if n >= min(number, self.allowed[-1]))

    def without(self, share: float) -> int:
        """The smallest number that is allowed and leaves out at most a share of all.

        >>> AllowedCounts((8, 16, 20), (2.0, 1.0, 0.0)).without(0.5)
        16
        """
        size = self.allowed[-1]
        return self.up(size - int(share * size * (1 + 1e-12)))


def largest(
    scores: Float[np.ndarray, " units"], number: int
) -> Bool[np.ndarray, " units"]:
    """The units with the largest scores; of equal ones the first.

    >>> largest(np.array([1.0, 3.0, 1.0]), 2).tolist()
    [True, True, False]
    """
    kept = np.zeros(scores.size, bool)
    kept[np.argsort(-scores, kind="stable")[:number]] = True
    return kept
