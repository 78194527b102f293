"""Operations that move, cut, join and repeat positions."""

from collections.abc import Iterator, Sequence

import numpy as np

from dst_jax.channels.axis_units import (
    FREE,
    AxisUnits,
    Block,
    Ints,
    fixed_block,
    free_block,
    made,
)
from dst_jax.channels.rules.elementwise import aligned
from dst_jax.channels.rules.equation import Equation
from dst_jax.jaxprs.axis_moves import matched

__all__ = ["MOVES"]

MERGED = "axes of which several could lose positions are merged into one"
SQUEEZED = "an axis of one position is dropped"
WINDOW = "only a part of the axis is taken, from a place that depends on data"


def _broadcast_in_dim(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    (shape,), x = e.shapes, operands[0]
    to = e.params["broadcast_dimensions"]
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


def _expand_dims(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    return [_with_axis(operands[0], axis) for axis in e.params["dimensions"]]


def _with_axis(x: AxisUnits, axis: int) -> AxisUnits:
    """A value with a new axis of size 1."""
    blocks = x.renumbered(lambda i: i + (i >= axis))
    new = fixed_block(axis, 1, zero=x.constant == 0)
    return made([*blocks, new], constant=x.constant, leaf=x.leaf)


def _rev(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x = operands[0]
    for axis in e.params["dimensions"]:
        x = _taken(x, axis, np.arange(_size(x, axis))[::-1])
    return [x]


def _slice(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x = operands[0]
    starts, limits = e.params["start_indices"], e.params["limit_indices"]
    strides = e.params["strides"] or [1] * x.rank
    for axis, along in enumerate(zip(starts, limits, strides, strict=True)):
        if along != (0, _size(x, axis), 1):
            x = _taken(x, axis, np.arange(*along))
    return [x]


def _split(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    ends = np.cumsum(e.params["sizes"])
    sizes = zip(ends, e.params["sizes"], strict=True)
    axis = e.params["axis"]
    return [_taken(operands[0], axis, np.arange(end - n, end)) for end, n in sizes]


def _pad(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x, value = operands
    for axis, (low, high, inside) in enumerate(e.params["padding_config"]):
        if (low, high, inside) == (0, 0, 0):
            continue
        size = _size(x, axis)
        at = np.full(max(size + (size - 1) * inside, 0), -1)
        at[:: inside + 1] = np.arange(size)
        at = np.concatenate([np.full(max(low, 0), -1), at, np.full(max(high, 0), -1)])
        at = at[max(-low, 0) : len(at) - max(-high, 0)]
        x = _taken(x, axis, at, zero=value.constant == 0)
    return [AxisUnits(x.blocks)]


def _concatenate(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axis = e.params["dimension"]
    along = [x.block(axis).axes for x in operands if not x.block(axis).free]
    if len({axes for axes in along}) > 1 or (along and along[0] != (axis,)):
        return [_joined(e, operands, axis, max(along, key=len))]
    rest = [_without_axis(x, axis) for x in operands]
    blocks = _united(e, rest)
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
    blocks = _united(e, rest)
    return made([*blocks, Block(axes, units, zero)])


def _stack(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axis = e.params["axis"]
    stacked = [_with_axis(x, axis) for x in operands]
    rest = [_without_axis(x, axis) for x in stacked]
    return [made([*_united(e, rest), fixed_block(axis, len(operands))])]


def _unstack(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axis, x = e.params["axis"], operands[0]
    parts = [_taken(x, axis, np.array([i])) for i in range(_size(x, axis))]
    return [_without(e, part, [axis]) for part in parts]


def _tile(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x = operands[0]
    for axis, times in enumerate(e.params["reps"]):
        x = _taken(x, axis, np.tile(np.arange(_size(x, axis)), times))
    return [x]


def _reshape(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    (shape,), x = e.shapes, operands[0]
    if e.params["dimensions"] is not None:
        return e.fixed(operands, "it reshapes in an order of its own")
    before = [_size(x, axis) for axis in range(x.rank)]
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
    sizes = [_size(x, axis) for axis in axes]
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


def _taken(x: AxisUnits, axis: int, at: Ints, *, zero: bool = False) -> AxisUnits:
    """A value with these positions of an axis; -1 is padding."""
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


def _size(x: AxisUnits, axis: int) -> int:
    block = x.block(axis)
    return block.units.shape[block.axes.index(axis)]


def _without_axis(x: AxisUnits, axis: int) -> list[Block]:
    """The blocks of all other axes."""
    return [block for block in x.blocks if block.axes != (axis,)]


def _united(e: Equation, values: Sequence[Sequence[Block]]) -> list[Block]:
    """Blocks of the same axes of several values, united."""
    axes = sorted(axis for block in values[0] for axis in block.axes)
    number = {axis: i for i, axis in enumerate(axes)}
    packed = [[b.on([number[a] for a in b.axes]) for b in blocks] for blocks in values]
    found = []
    for units, same in aligned(e, packed) if axes else []:
        zero = np.logical_and.reduce([block.zero for block in same])
        found.append(Block(tuple(axes[i] for i in same[0].axes), units, zero))
    return found


def _dynamic_slice(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x, *starts = operands
    e.fixed(starts, "it says where to cut")
    (shape,) = e.shapes
    cut = [axis for axis in range(x.rank) if _size(x, axis) != shape[axis]]
    x = e.whole(x, cut, WINDOW)
    rest = [b for b in x.blocks if b.axes[0] not in cut]
    return [made([*rest, *(fixed_block(axis, shape[axis]) for axis in cut)])]


def _dynamic_update_slice(
    e: Equation, operands: Sequence[AxisUnits]
) -> list[AxisUnits]:
    x, update, *starts = operands
    e.fixed(starts, "it says where to write")
    cut = [axis for axis in range(x.rank) if _size(x, axis) != _size(update, axis)]
    x, update = (e.whole(value, cut, WINDOW) for value in (x, update))
    rest = [[b for b in v.blocks if b.axes[0] not in cut] for v in (x, update)]
    kept = [b for b in x.blocks if b.axes[0] in cut]
    return [made([*_united(e, rest), *kept])]


def _gather(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """Axes that are taken whole keep their units."""
    x, indices = operands
    (shape,) = e.shapes
    e.fixed([indices], "it is an index")
    numbers, sizes = e.params["dimension_numbers"], e.params["slice_sizes"]
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    offsets = [axis for axis in range(x.rank) if axis not in gone]
    to = dict(zip(offsets, numbers.offset_dims, strict=True))
    whole = [a for a in offsets if sizes[a] == _size(x, a)]
    cut = [axis for axis in range(x.rank) if axis not in whole]
    x = e.whole(x, cut, "only some of its positions are gathered")
    for block in x.blocks:
        e.relations.use(block.units)
        if x.leaf is not None:
            e.relations.roles.append((block.units, "produces"))
    kept = [b.on([to[a] for a in b.axes]) for b in x.blocks if b.axes[0] in whole]
    done = {axis for block in kept for axis in block.axes}
    rest = [fixed_block(i, n) for i, n in enumerate(shape) if i not in done]
    return [made([*kept, *rest])]


MOVES = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "expand_dims": _expand_dims,
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
    "unstack": _unstack,
}
