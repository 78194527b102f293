"""Choices between axes of which only one may lose positions."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dst_jax.channels.axis_units import FREE, Bools, Ints
from dst_jax.channels.reasons import Reason

__all__ = ["Choice", "Components", "forced", "independent", "preferred"]


class Components(NamedTuple):
    """Units after all relations.

    Attributes:
      numbers: by unit, the number of its component; that of the fixed ones is 0.
      used: by component, whether any operation computes with it.
    """

    numbers: Ints
    used: Bools

    def of(self, units: Ints) -> Ints:
        """The components of units; `FREE` stays.

        >>> found = Components(np.array([0, 1, 1]), np.array([True, True]))
        >>> found.of(np.array([2, FREE, 0])).tolist()
        [1, -1, 0]
        """
        return np.where(units == FREE, FREE, self.numbers[units])


class Choice(NamedTuple):
    """Parts of a product of axes, of which one may lose positions.

    Attributes:
      parts: the parts, in the order in which they are preferred.
      whole: their product, with as many dimensions as all parts have together; None if
        only the parts are related.
      at: for every part, its dimensions in `whole`.
      reason: why the other parts stay.
    """

    parts: tuple[Ints, ...]
    whole: Ints | None
    at: tuple[tuple[int, ...], ...]
    reason: Reason


def forced(choice: Choice, found: Components) -> int | None:
    """The only part that can lose positions, by what is known; None if it is open.

    The product may depend on one part alone by now, or all other parts may be fixed.

    >>> found = Components(np.array([0, 0, 1]), np.array([True, True]))
    >>> parts = (np.array([1]), np.array([2]))
    >>> forced(Choice(parts, None, (), Reason("", "", "")), found)
    1
    """
    live = [i for i, part in enumerate(choice.parts) if (found.of(part) > 0).any()]
    if choice.whole is not None:
        whole = found.of(choice.whole)
        alone = [i for i, dims in enumerate(choice.at) if _depends_on(whole, dims)]
        if alone:
            return alone[0]
    return (live or [0])[0] if len(live) < 2 else None


def _depends_on(whole: Ints, dims: Sequence[int]) -> bool:
    """Whether an array is constant along all dimensions but these.

    >>> _depends_on(np.array([[1, 1], [2, 2]]), [0])
    True
    """
    others = [i for i in range(whole.ndim) if i not in dims]
    along = whole.transpose(*others, *dims)
    along = along.reshape(-1, *along.shape[len(others) :])
    return bool((along == along[:1]).all())


def preferred(choice: Choice, found: Components) -> int:
    """The first part that is not fixed anywhere.

    >>> found = Components(np.array([0, 1, 2]), np.array([True, True, True]))
    >>> parts = (np.array([0, 1]), np.array([2]))
    >>> preferred(Choice(parts, None, (), Reason("", "", "")), found)
    1
    """
    live = [bool((found.of(part) > 0).all()) for part in choice.parts]
    return live.index(True) if True in live else 0


def independent(choices: Sequence[Choice], found: Components) -> list[Choice]:
    """The first of all choices, and those that neither it nor what it forces touches.

    Choices touch each other if they share components, or others do between them.

    >>> found = Components(np.array([0, 1, 2]), np.array([True, True, True]))
    >>> reason = Reason("", "", "")
    >>> one, two = (Choice((np.array([unit]),), None, (), reason) for unit in (1, 2))
    >>> independent([one, one, two], found) == [one, two]
    True
    """
    touched = []
    for choice in choices:
        units = [*choice.parts, *([] if choice.whole is None else [choice.whole])]
        own = np.unique(np.concatenate([found.of(part).ravel() for part in units]))
        touched.append(own[own > 0])
    owner = np.repeat(np.arange(len(choices)), [own.size for own in touched])
    components = np.concatenate(touched) + len(choices)
    size = len(choices) + len(found.used)
    graph = coo_array((np.ones(owner.size, bool), (owner, components)), (size, size))
    _, numbers = connected_components(graph, directed=False)
    _, first = np.unique(numbers[: len(choices)], return_index=True)
    return [choices[i] for i in sorted(first.tolist())]
