"""Positions of one axis of a value: how many, which are taken, which are united."""

from collections.abc import Sequence

import numpy as np

from dst_jax.channels.axis_units import FREE, AxisUnits, Block, Ints, made
from dst_jax.channels.rules.elementwise import aligned
from dst_jax.channels.rules.equation import Equation

__all__ = ["size_of", "taken", "united", "without_axis"]


def size_of(x: AxisUnits, axis: int) -> int:
    """The number of positions of an axis.

    >>> from dst_jax.channels.axis_units import new
    >>> size_of(new((2, 3), FREE), 1)
    3
    """
    block = x.block(axis)
    return block.units.shape[block.axes.index(axis)]


def taken(x: AxisUnits, axis: int, at: Ints, *, zero: bool = False) -> AxisUnits:
    """A value with these positions of an axis; -1 is padding.

    >>> value = made([Block((0,), np.array([7, 8]), np.ones(2, bool))])
    >>> taken(value, 0, np.array([1, -1])).blocks[0].units.tolist()
    [8, -1]
    """
    block = x.block(axis)
    i = block.axes.index(axis)
    if block.units.shape[i]:
        units, zeros = np.take(block.units, at, i), np.take(block.zero, at, i)
    else:  # padding alone
        shape = [*block.units.shape[:i], len(at), *block.units.shape[i + 1 :]]
        units, zeros = np.full(shape, FREE), np.full(shape, zero)
    padding = (slice(None),) * i + (at == -1,)
    units[padding], zeros[padding] = FREE, zero
    blocks = [b for b in x.blocks if b is not block]
    return made(
        [*blocks, Block(block.axes, units, zeros)], constant=x.constant, leaf=x.leaf
    )


def united(e: Equation, values: Sequence[Sequence[Block]]) -> list[Block]:
    """Blocks of the same axes of several values, united.

    >>> from dst_jax.channels.axis_units import fixed_block, free_block
    >>> from dst_jax.channels.relations import Relations
    >>> values = [[free_block(1, 2)], [fixed_block(1, 2)]]
    >>> united(Equation("stack", "", Relations()), values)[0].units.tolist()
    [0, 0]
    """
    axes = sorted(axis for block in values[0] for axis in block.axes)
    number = {axis: i for i, axis in enumerate(axes)}
    packed = [[b.on([number[a] for a in b.axes]) for b in blocks] for blocks in values]
    found = []
    for units, same in aligned(e, packed) if axes else []:
        zero = np.logical_and.reduce([block.zero for block in same])
        found.append(Block(tuple(axes[i] for i in same[0].axes), units, zero))
    return found


def without_axis(x: AxisUnits, axis: int) -> list[Block]:
    """The blocks of all other axes.

    >>> from dst_jax.channels.axis_units import new
    >>> [block.axes for block in without_axis(new((2, 3), FREE), 1)]
    [(0,)]
    """
    return [block for block in x.blocks if block.axes != (axis,)]
