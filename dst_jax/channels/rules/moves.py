"""Operations that move, cut, join and repeat positions."""

from collections.abc import Sequence

import numpy as np

from dst_jax.channels.axis_units import (
    AxisUnits,
    Block,
    fixed_block,
    free_block,
    made,
)
from dst_jax.channels.rules.equation import Equation
from dst_jax.channels.rules.positions import size_of, taken, united, without_axis
from dst_jax.channels.rules.reshapes import reshape

__all__ = ["MOVES"]

SQUEEZED = "an axis of one position is dropped"


def _broadcast_in_dim(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    (shape,), x = e.shapes, operands[0]
    to = [int(axis) for axis in e.params["broadcast_dimensions"]]
    zero = x.constant == 0
    blocks: list[Block] = []
    for block in x.blocks:
        moved = block.on([to[axis] for axis in block.axes])
        sizes = [shape[axis] for axis in moved.axes]
        if list(block.units.shape) == sizes:
            blocks.append(moved)
        else:  # a size of 1 that is repeated; joint blocks are longer along all axes
            blocks += [free_block(a, shape[a], zero=zero) for a in moved.axes]
    new = [i for i in range(len(shape)) if i not in to]
    blocks += [free_block(i, shape[i], zero=zero) for i in new]
    return [made(blocks, constant=x.constant, leaf=x.leaf)]


def _transpose(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    to = {axis: i for i, axis in enumerate(e.params["permutation"])}
    x = operands[0]
    return [made(x.renumbered(to.__getitem__), constant=x.constant, leaf=x.leaf)]


def _squeeze(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    return [_without(e, operands[0], e.params["dimensions"])]


def _without(e: Equation, x: AxisUnits, axes: Sequence[int]) -> AxisUnits:
    """A value without axes of size 1."""
    blocks: list[Block] = []
    for block in x.blocks:
        rest = [axis for axis in block.axes if axis not in axes]
        if not rest:
            e.fix([block], SQUEEZED)
            continue
        at = tuple(0 if axis in axes else slice(None) for axis in block.axes)
        blocks.append(Block(tuple(rest), block.units[at], block.zero[at]))
    number = {a: i for i, a in enumerate(a for a in range(x.rank) if a not in axes)}
    renumbered = [b.on([number[axis] for axis in b.axes]) for b in blocks]
    return made(renumbered, constant=x.constant, leaf=x.leaf)


def _with_axis(x: AxisUnits, axis: int) -> AxisUnits:
    """A value with a new axis of size 1."""
    blocks = x.renumbered(lambda i: i + (i >= axis))
    new = fixed_block(axis, 1, zero=x.constant == 0)
    return made([*blocks, new], constant=x.constant, leaf=x.leaf)


def _rev(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x = operands[0]
    for axis in e.params["dimensions"]:
        x = taken(x, axis, np.arange(size_of(x, axis))[::-1])
    return [x]


def _slice(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x = operands[0]
    starts, limits = e.params["start_indices"], e.params["limit_indices"]
    strides = e.params["strides"] or [1] * x.rank
    for axis, along in enumerate(zip(starts, limits, strides, strict=True)):
        if along != (0, size_of(x, axis), 1):
            x = taken(x, axis, np.arange(*along))
    return [x]


def _split(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    ends = np.cumsum(e.params["sizes"])
    sizes = zip(ends, e.params["sizes"], strict=True)
    axis = e.params["axis"]
    return [taken(operands[0], axis, np.arange(end - n, end)) for end, n in sizes]


def _pad(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x, value = operands
    for axis, (low, high, inside) in enumerate(e.params["padding_config"]):
        if (low, high, inside) == (0, 0, 0):
            continue
        size = size_of(x, axis)
        at = np.full(max(size + (size - 1) * inside, 0), -1)
        at[:: inside + 1] = np.arange(size)
        at = np.concatenate([np.full(max(low, 0), -1), at, np.full(max(high, 0), -1)])
        at = at[max(-low, 0) : len(at) - max(-high, 0)]
        x = taken(x, axis, at, zero=value.constant == 0)
    return [AxisUnits(x.blocks)]


def _concatenate(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axis = e.params["dimension"]
    along = [x.block(axis).axes for x in operands if not x.block(axis).free]
    if len({axes for axes in along}) > 1 or (along and along[0] != (axis,)):
        return [_joined(e, operands, axis, max(along, key=len))]
    rest = [without_axis(x, axis) for x in operands]
    blocks = united(e, rest)
    own = [x.block(axis) for x in operands]
    units = np.concatenate([b.units for b in own])
    zero = np.concatenate([b.zero for b in own])
    return [made([*blocks, Block((axis,), units, zero)])]


def _joined(
    e: Equation, operands: Sequence[AxisUnits], axis: int, axes: tuple[int, ...]
) -> AxisUnits:
    """A concatenation along an axis of joint blocks."""
    if any(x.block(axis).axes != axes for x in operands):
        (shape,) = e.shapes
        for x in operands:
            e.fix(x.blocks, "joint axes are concatenated with others")
        return made([fixed_block(i, size) for i, size in enumerate(shape)])
    own = [x.block(axis) for x in operands]
    i = axes.index(axis)
    units = np.concatenate([b.units for b in own], i)
    zero = np.concatenate([b.zero for b in own], i)
    rest = [[b for b in x.blocks if axis not in b.axes] for x in operands]
    blocks = united(e, rest)
    return made([*blocks, Block(axes, units, zero)])


def _stack(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axis = e.params["axis"]
    stacked = [_with_axis(x, axis) for x in operands]
    rest = [without_axis(x, axis) for x in stacked]
    return [made([*united(e, rest), fixed_block(axis, len(operands))])]


def _unstack(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axis, x = e.params["axis"], operands[0]
    parts = [taken(x, axis, np.array([i])) for i in range(size_of(x, axis))]
    return [_without(e, part, [axis]) for part in parts]


def _tile(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x = operands[0]
    for axis, times in enumerate(e.params["reps"]):
        x = taken(x, axis, np.tile(np.arange(size_of(x, axis)), times))
    return [x]


MOVES = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "pad": _pad,
    "reshape": reshape,
    "rev": _rev,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "unstack": _unstack,
}
