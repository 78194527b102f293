"""Which units every axis of a value consists of.

A unit is a positive number: positions with the same unit are removed together. Two
numbers say something else: `FIXED`, the position cannot be removed, and `FREE`, it goes
along with anything (it was made by broadcasting or padding).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["FIXED", "FREE", "AxisUnits", "Block", "fixed_block", "free_block", "new"]

FIXED = 0
FREE = -1

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Block:
    """The units of one axis, or of several whose units are known only jointly.

    Attributes:
      axes: the axes, in the order of the dimensions of `units`.
      units: the unit of every position, or of every combination of positions.
      zero: by position, whether the value is 0 there once all that the unit names in
        the parameters is 0.
    """

    axes: tuple[int, ...]
    units: Ints
    zero: Bools

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Block)
            and self.axes == other.axes
            and np.array_equal(self.units, other.units)
            and np.array_equal(self.zero, other.zero)
        )

    @property
    def live(self) -> bool:
        """Whether any position may be removed.

        >>> fixed_block(0, 3).live, Block((0,), np.array([4]), np.array([True])).live
        (False, True)
        """
        return bool((self.units > 0).any())

    @property
    def free(self) -> bool:
        """Whether all positions go along with anything.

        >>> free_block(0, 3).free
        True
        """
        return bool((self.units == FREE).all())

    def on(self, axes: Sequence[int]) -> "Block":
        """The block with its axes renumbered; its dimensions stay in their order.

        >>> fixed_block(0, 3).on([2]).axes
        (2,)
        """
        return replace(self, axes=tuple(axes))

    def ordered(self, axes: Sequence[int]) -> "Block":
        """The block with its dimensions in the order of these, its own, axes.

        >>> block = Block((0, 1), np.ones((2, 3), np.int64), np.ones((2, 3), bool))
        >>> block.ordered([1, 0]).units.shape
        (3, 2)
        """
        order = [self.axes.index(axis) for axis in axes]
        return Block(
            tuple(axes), self.units.transpose(order), self.zero.transpose(order)
        )


@dataclass(frozen=True)
class AxisUnits:
    """The units of all axes of a value.

    Attributes:
      blocks: blocks that hold every axis once, in the order of their first axes.
      constant: the value, if it is one number at every position that is known.
      leaf: number of the leaf of the weights that the value is, moved, cast or masked;
        None if it is no single one.
      carriers: bits of the sums over units, see `branches.Branches`, of which each
        carries all that the value depends on in the inputs; None if it depends on none.
      value: its number in the `value_graph.ValueGraph`; None for an input, a constant.
    """

    blocks: tuple[Block, ...]
    constant: float | None = None
    leaf: int | None = None
    carriers: int | None = None
    value: int | None = None

    @property
    def rank(self) -> int:
        """The number of axes.

        >>> new((2, 3), FIXED).rank
        2
        """
        return sum(len(block.axes) for block in self.blocks)

    @property
    def live(self) -> bool:
        """Whether any position along any axis may be removed.

        >>> new((2, 3), FREE).live
        False
        """
        return any(block.live for block in self.blocks)

    def block(self, axis: int) -> Block:
        """The block that holds an axis.

        >>> new((2, 3), FIXED).block(1).units.tolist()
        [0, 0, 0]
        """
        return next(block for block in self.blocks if axis in block.axes)

    def renumbered(self, number: Callable[[int], int]) -> tuple[Block, ...]:
        """The blocks with their axes renumbered.

        >>> new((2, 3), FIXED).renumbered(lambda axis: axis + 1)[0].axes
        (1,)
        """
        return tuple(b.on([number(axis) for axis in b.axes]) for b in self.blocks)


def made(blocks: Sequence[Block], **known: Any) -> AxisUnits:
    """Units of a value from its blocks; joint ones that are not live come apart.

    >>> joint = Block((0, 1), np.zeros((2, 3), np.int64), np.zeros((2, 3), bool))
    >>> [block.axes for block in made([joint]).blocks]
    [(0,), (1,)]
    """
    found: list[Block] = []
    for block in blocks:
        if len(block.axes) == 1 or block.live:
            found.append(block)
            continue
        kind = free_block if block.free else fixed_block
        zero = bool(block.zero.all())
        sizes = zip(block.axes, block.units.shape, strict=True)
        found += [kind(axis, size, zero=zero) for axis, size in sizes]
    return AxisUnits(tuple(sorted(found, key=lambda b: min(b.axes))), **known)


def fixed_block(axis: int, size: int, *, zero: bool = False) -> Block:
    """An axis of which no position can be removed.

    >>> fixed_block(0, 2).units.tolist()
    [0, 0]
    """
    return Block((axis,), np.full(size, FIXED, np.int64), np.full(size, zero))


def free_block(axis: int, size: int, *, zero: bool = False) -> Block:
    """An axis of which every position goes along with anything.

    >>> free_block(0, 2).units.tolist()
    [-1, -1]
    """
    return Block((axis,), np.full(size, FREE, np.int64), np.full(size, zero))


def new(shape: Sequence[int], kind: int, *, constant: float | None = None) -> AxisUnits:
    """Units of a value that depends on no parameter.

    Args:
      shape: its shape.
      kind: `FIXED` or `FREE`.
      constant: the number that it is everywhere, if that is known.

    >>> new((2,), FREE, constant=0.0).blocks[0].zero.tolist()
    [True, True]
    """
    of = free_block if kind == FREE else fixed_block
    blocks = [of(i, size, zero=constant == 0) for i, size in enumerate(shape)]
    return AxisUnits(tuple(blocks), constant)
