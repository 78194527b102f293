"""What is known of units: which are the same, which are fixed, and why."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from dst_jax.channels.axis_units import FREE, Block, Ints
from dst_jax.channels.choices import (
    Choice,
    Components,
    forced,
    independent,
    preferred,
)
from dst_jax.channels.reasons import Reason

__all__ = ["Relations", "SplitSide"]

SplitSide = Literal["outer", "inner"]
"""Which side of a split axis loses positions: whole parts, or the same in each part."""


class Relations:
    """Collects what operations say of units.

    Args:
      first: the first unit that is new.
      split: which side of an axis that is split into several may lose positions where
        an operation needs one of them alone: the "outer" (whole heads, whole groups) or
        the "inner" one (the same positions in every head or group).

    >>> relations = Relations()
    >>> a, b = relations.fresh(2), relations.fresh(2)
    >>> relations.unite(a, b)
    >>> relations.components().of(np.stack([a, b])).tolist()
    [[1, 2], [1, 2]]
    """

    def __init__(self, *, first: int = 1, split: SplitSide = "outer") -> None:
        self.split: SplitSide = split
        self._next = first
        self._pairs: list[tuple[Ints, Ints]] = []
        self._used: list[Ints] = []
        self._choices: list[Choice] = []
        self._parts: dict[Any, tuple[Ints, ...]] = {}
        self.roles: list[tuple[Ints, str]] = []
        self.fixed: dict[Reason, list[Ints]] = defaultdict(list)
        self.inexact: dict[Reason, list[Ints]] = defaultdict(list)

    def fresh(self, *shape: int) -> Ints:
        """Units that are related to no other.

        >>> Relations().fresh(3).tolist()
        [1, 2, 3]
        """
        size = int(np.prod(shape))
        units = np.arange(self._next, self._next + size, dtype=np.int64)
        self._next += size
        return units.reshape(shape)

    def unite(self, a: Ints, b: Ints) -> None:
        """Makes units the same, position by position; the arrays broadcast.

        >>> relations = Relations()
        >>> units = relations.fresh(2)
        >>> relations.unite(units[:1], units[1:])
        >>> relations.components().of(units).tolist()
        [1, 1]
        """
        if a is b or a.size == 0:
            return
        a, b = np.broadcast_arrays(a, b)
        differ = (a != b) & (a != FREE) & (b != FREE)
        if differ.any():
            self._pairs.append((a[differ], b[differ]))

    def fix(self, units: Ints, reason: Reason) -> None:
        """Says that positions cannot be removed.

        >>> relations = Relations()
        >>> units = relations.fresh(2)
        >>> relations.fix(units, Reason("sort", "head", "it sorts along the axis"))
        >>> relations.components().of(units).tolist()
        [0, 0]
        """
        live = units[units > 0]
        if live.size:
            self._pairs.append((live, np.zeros_like(live)))
            self.fixed[reason].append(live)

    def spoil(self, units: Ints, reason: Reason) -> None:
        """Says that removal changes values elsewhere.

        >>> relations = Relations()
        >>> relations.spoil(relations.fresh(1), Reason("reduce_max", "", "..."))
        >>> len(relations.inexact)
        1
        """
        live = units[units > 0]
        if live.size:
            self.inexact[reason].append(live)

    def use(self, units: Ints) -> None:
        """Says that an operation reads the positions.

        >>> relations = Relations()
        >>> units = relations.fresh(2)
        >>> relations.use(units[:1])
        >>> relations.components().used.tolist()
        [True, True, False]
        """
        self._used.append(units)

    def choose(
        self,
        parts: Sequence[Ints],
        reason: Reason,
        whole: Ints | None = None,
        at: Sequence[tuple[int, ...]] = (),
        *,
        ranked: bool = False,
    ) -> None:
        """Says that only one of several axes may lose positions, see `Choice`.

        Args:
          parts: units of the axes; the outer ones first.
          reason: why the others stay.
          whole: units of the product of the parts, if it is a value too.
          at: for every part, its dimensions in `whole`.
          ranked: whether the first part is preferred whatever `split` says.

        >>> relations = Relations()
        >>> heads, dims = relations.fresh(2), relations.fresh(3)
        >>> relations.choose([heads, dims], Reason("dot_general", "", "..."))
        >>> relations.components().of(dims).tolist()
        [0, 0, 0]
        """
        order = 1 if ranked or self.split == "outer" else -1
        parts, at = tuple(parts)[::order], tuple(at)[::order]
        self._choices.append(Choice(parts, whole, at, reason))

    def apart(
        self,
        block: Block,
        parts: Sequence[Sequence[int]],
        reason: Reason,
        *,
        ranked: bool = False,
    ) -> list[Block]:
        """A joint block as blocks of some of its axes each; one of them stays live.

        Args:
          block: the block.
          parts: its axes, in groups, the outer ones first.
          reason: why the others stay.
          ranked: as in `choose`.

        >>> relations = Relations()
        >>> joint = relations.fresh(2, 3)
        >>> block = Block((0, 1), joint, np.ones((2, 3), bool))
        >>> heads, dims = relations.apart(block, [[0], [1]], Reason("", "", ""))
        >>> found = relations.components()
        >>> found.of(joint).tolist(), found.of(dims.units).tolist()
        ([[1, 1, 1], [2, 2, 2]], [0, 0, 0])
        """
        at = tuple(tuple(block.axes.index(axis) for axis in part) for part in parts)
        key = (block.units.tobytes(), block.units.shape, at)
        if key not in self._parts:
            shapes = [[block.units.shape[i] for i in dims] for dims in at]
            self._parts[key] = tuple(self.fresh(*shape) for shape in shapes)
            self.choose(self._parts[key], reason, block.units, at, ranked=ranked)
        found = []
        for part, dims, units in zip(parts, at, self._parts[key], strict=True):
            others = tuple(i for i in range(block.units.ndim) if i not in dims)
            zero = block.zero.transpose(*dims, *others)
            zero = np.asarray(zero.all(axis=tuple(range(len(dims), zero.ndim))))
            found.append(Block(tuple(part), units, zero))
        return found

    def together(self, blocks: Sequence[Block], reason: Reason) -> Block:
        """Several blocks as a joint one; one of them stays live.

        >>> relations = Relations()
        >>> rows = Block((0,), relations.fresh(2), np.ones(2, bool))
        >>> columns = Block((1,), relations.fresh(2), np.ones(2, bool))
        >>> joint = relations.together([rows, columns], Reason("reshape", "", "..."))
        >>> relations.components().of(joint.units).tolist()
        [[1, 1], [2, 2]]
        """
        key = tuple((block.units.tobytes(), block.units.shape) for block in blocks)
        shape = [size for block in blocks for size in block.units.shape]
        if key not in self._parts:
            units = self.fresh(*shape)
            self._parts[key] = (units,)
            ends = np.cumsum([block.units.ndim for block in blocks])
            at = [
                tuple(range(end - b.units.ndim, end))
                for end, b in zip(ends, blocks, strict=True)
            ]
            self.choose([block.units for block in blocks], reason, units, at)
        zero = np.zeros(shape, bool)
        for i, block in enumerate(blocks):
            before = sum(b.units.ndim for b in blocks[:i])
            after = zero.ndim - before - block.units.ndim
            zero |= block.zero.reshape(
                [1] * before + [*block.units.shape] + [1] * after
            )
        axes = tuple(axis for block in blocks for axis in block.axes)
        return Block(axes, self._parts[key][0], zero)

    def components(self) -> Components:
        """The components of all units, with every choice made.

        A choice whose product depends on one part alone, or of whose parts all but one
        are fixed, is no choice; of the others the first part is taken that is not
        fixed, in the order of the choices, as each may force others that share units.
        """
        found = self._components()
        choices = list(self._choices)
        while choices:
            known = {id(c): forced(c, found) for c in choices}
            taken = [c for c in choices if known[id(c)] is not None]
            taken = taken or independent(choices, found)
            for choice in taken:
                live = known[id(choice)]
                self._take(choice, preferred(choice, found) if live is None else live)
            done = set(map(id, taken))
            choices = [c for c in choices if id(c) not in done]
            found = self._components()
        self._choices = []
        return found

    def linked(self) -> Ints:
        """By unit, its component if being fixed did not unite anything.

        >>> relations = Relations()
        >>> units = relations.fresh(2)
        >>> relations.fix(units, Reason("sort", "", "it sorts along the axis"))
        >>> relations.linked().tolist()
        [0, 1, 2]
        """
        a, b = self._joined_pairs()
        return self._numbers(a[(a != 0) & (b != 0)], b[(a != 0) & (b != 0)])

    def _take(self, choice: Choice, live: int) -> None:
        for i, part in enumerate(choice.parts):
            if i != live:
                self.fix(part, choice.reason)
        if choice.whole is not None:
            dims = choice.at[live]
            others = [i for i in range(choice.whole.ndim) if i not in dims]
            whole = choice.whole.transpose(*dims, *others)
            part = choice.parts[live]
            self.unite(whole, part.reshape(*part.shape, *[1] * len(others)))

    def _components(self) -> Components:
        numbers = self._numbers(*self._joined_pairs())
        used = np.zeros(numbers.max() + 1, bool)
        used[0] = True
        for units in self._used:
            used[numbers[units[units > 0]]] = True
        return Components(numbers, used)

    def _joined_pairs(self) -> tuple[Ints, Ints]:
        pairs = self._pairs or [(np.zeros(0, np.int64),) * 2]
        a = np.concatenate([pair[0] for pair in pairs])
        b = np.concatenate([pair[1] for pair in pairs])
        self._pairs = [(a, b)]
        return a, b

    def _numbers(self, a: Ints, b: Ints) -> Ints:
        """By unit, the number of its component, in the order of their first units."""
        graph = coo_array((np.ones(a.size, bool), (a, b)), shape=(self._next,) * 2)
        _, numbers = connected_components(graph, directed=False)
        _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
        rank = np.empty_like(first)
        rank[np.argsort(first)] = np.arange(first.size)
        return rank[inverse]
