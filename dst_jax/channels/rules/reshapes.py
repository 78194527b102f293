"""Axes merged into one, and split into several."""

from collections.abc import Iterator, Sequence

import numpy as np

from dst_jax.channels.axis_units import (
    AxisUnits,
    Block,
    fixed_block,
    free_block,
    made,
)
from dst_jax.channels.rules.equation import Equation
from dst_jax.channels.rules.positions import size_of
from dst_jax.jaxprs.axis_moves import matched

__all__ = ["reshape"]

MERGED = "axes of which several could lose positions are merged into one"


def reshape(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """The results of a reshape: runs of axes are merged and split.

    >>> from dst_jax.channels.relations import Relations
    >>> relations = Relations()
    >>> leaf = made([Block((0,), relations.fresh(6), np.ones(6, bool))])
    >>> equation = Equation(
    ...     "reshape", "", relations, {"dimensions": None}, [(6,)], [(2, 3)]
    ... )
    >>> (block,) = reshape(equation, [leaf])[0].blocks
    >>> block.units.tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    (shape,), x = e.shapes, operands[0]
    if e.params["dimensions"] is not None:
        return e.fixed(operands, "it reshapes in an order of its own")
    before = [size_of(x, axis) for axis in range(x.rank)]
    if 0 in before:
        return e.fixed(operands, "an axis is empty")
    shift = len(before)  # so that old numbers and new ones do not meet
    for old, new in matched(before, shape):
        after = [(axis + shift, shape[axis]) for axis in range(len(shape))[new]]
        x = _regrouped(e, x, range(shift)[old], after)
    return [made(x.renumbered(lambda a: a - shift), constant=x.constant, leaf=x.leaf)]


def _regrouped(
    e: Equation, x: AxisUnits, axes: Sequence[int], to: Sequence[tuple[int, int]]
) -> AxisUnits:
    """A value with neighbouring axes merged, and split into others.

    Args:
      x: the value.
      axes: the axes that are merged.
      to: number and size of each axis that they are split into.
    """
    touched = [b for b in x.blocks if any(axis in axes for axis in b.axes)]
    others = [b for b in x.blocks if b not in touched]
    if len(axes) == 1 and len(to) == 1:
        moved = [
            b.on([to[0][0] if axis == axes[0] else axis for axis in b.axes])
            for b in touched
        ]
        return AxisUnits((*others, *moved), x.constant, x.leaf)
    sizes = [size_of(x, axis) for axis in axes]
    live = [b for b in touched if b.live]
    if not live:
        free = all(b.free for b in touched) if touched else True
        make = free_block if free and touched else fixed_block
        zero = all(b.zero.all() for b in touched) and bool(touched)
        made_of = [make(axis, size, zero=zero) for axis, size in to]
        return AxisUnits((*others, *made_of), x.constant, x.leaf)
    block = live[0] if len(live) == 1 else e.relations.together(live, e.reason(MERGED))
    outside = [axis for axis in block.axes if axis not in axes]
    block = _expanded(block, axes, sizes, outside)
    shape = [*block.units.shape[: len(outside)], *(size for _, size in to)]
    new = Block(
        (*outside, *(axis for axis, _ in to)),
        block.units.reshape(shape),
        block.zero.reshape(shape),
    )
    return AxisUnits((*others, *_lone(new)), x.constant, x.leaf)


def _expanded(
    block: Block,
    axes: Sequence[int],
    sizes: Sequence[int],
    outside: Sequence[int],
) -> Block:
    """A block over `outside` and all of `axes`, repeated along those that it lacks."""
    lacking = [axis for axis in axes if axis not in block.axes]
    shape = [*block.units.shape, *(sizes[list(axes).index(a)] for a in lacking)]
    place = (..., *[None] * len(lacking))
    units = np.broadcast_to(block.units[place], shape)
    zero = np.broadcast_to(block.zero[place], shape)
    full = Block((*block.axes, *lacking), units, zero)
    return full.ordered([*outside, *axes])


def _lone(block: Block) -> Iterator[Block]:
    """A joint block without its axes of size 1, which are fixed."""
    if len(block.axes) == 1:
        yield block
        return
    sizes = dict(zip(block.axes, block.units.shape, strict=True))
    ones = [axis for axis, size in sizes.items() if size == 1]
    if len(ones) == len(sizes):
        ones = ones[1:]
    at = tuple(0 if axis in ones else slice(None) for axis in block.axes)
    rest = tuple(axis for axis in block.axes if axis not in ones)
    yield Block(rest, block.units[at], block.zero[at])
    for axis in ones:
        yield fixed_block(axis, 1)
