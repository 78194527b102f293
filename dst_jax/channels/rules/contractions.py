"""Matrix products and convolutions."""

import math
from collections.abc import Sequence

import numpy as np

from dst_jax.channels.axis_units import AxisUnits, Block, fixed_block, made
from dst_jax.channels.rules.elementwise import aligned
from dst_jax.channels.rules.equation import Equation

__all__ = ["PRODUCTS"]

HEADS = "whole heads are removed: the other axes of the product stay as they are"
ROLES = "an axis split into several is used whole along all but one of them"
WINDOW = "it is the window, or the height and width, of a convolution"


def _dot_general(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    contracted, batch = e.params["dimension_numbers"]
    sides = []
    for side, x in enumerate(operands):
        free = [a for a in range(x.rank) if a not in (*contracted[side], *batch[side])]
        blocks = _by_role(e, x, [batch[side], contracted[side], free])
        sides.append((blocks, free))
    batches = _united(e, [blocks for blocks, _ in sides], batch)
    pairs = _united(e, [blocks for blocks, _ in sides], contracted)
    for (blocks, _), axes in zip(sides, contracted, strict=True):
        for block in blocks:
            if block.axes[0] in axes:
                e.relations.use(block.units)
    found = [
        Block(same[0].axes, units, np.logical_or.reduce([b.zero for b in same]))
        for units, same in batches
    ]
    start = len(batch[0])
    for blocks, free in sides:
        to = {axis: start + i for i, axis in enumerate(free)}
        own = [b for b in blocks if b.axes[0] in to]
        found += [b.on([to[axis] for axis in b.axes]) for b in own]
        start += len(free)
    for x, axes in zip(operands, contracted, strict=True):
        _note_roles(e, x, axes)
    _keep_heads(e, found[: len(batches)], [blocks for blocks, _ in sides], batch)
    units = [*(block.units for block in found), *(units for units, _ in pairs)]
    e.note_product(math.prod(array.size for array in units), units)
    return [made(found)]


def _by_role(e: Equation, x: AxisUnits, roles: Sequence[Sequence[int]]) -> list[Block]:
    """Blocks of which each has axes of one role, the outer role first."""
    found: list[Block] = []
    for block in x.blocks:
        parts = [[axis for axis in block.axes if axis in role] for role in roles]
        parts = [part for part in parts if part]
        if len(parts) == 1:
            found.append(block)
        else:
            found += e.relations.apart(block, parts, e.reason(ROLES))
    return found


def _united(
    e: Equation, sides: Sequence[Sequence[Block]], axes: Sequence[Sequence[int]]
) -> list[tuple[np.ndarray, list[Block]]]:
    """Pairs of axes of both operands united, renumbered by their place in `axes`."""
    values: list[list[Block]] = []
    for blocks, own in zip(sides, axes, strict=True):
        to = {axis: i for i, axis in enumerate(own)}
        of_role = [b for b in blocks if b.axes[0] in to]
        values.append([b.on([to[axis] for axis in b.axes]) for b in of_role])
    return aligned(e, values) if len(axes[0]) else []


def _keep_heads(
    e: Equation,
    batches: Sequence[Block],
    sides: Sequence[Sequence[Block]],
    batch: Sequence[Sequence[int]],
) -> None:
    """Where a batch axis is live, it is the axis that loses positions."""
    live = [b.units.ravel() for b in batches if b.live]
    if not live:
        return
    rest = [
        block.units.ravel()
        for blocks, own in zip(sides, batch, strict=True)
        for block in blocks
        if block.live and block.axes[0] not in own
    ]
    if rest:
        parts = [np.concatenate(live), np.concatenate(rest)]
        e.relations.choose(parts, e.reason(HEADS))


def _note_roles(e: Equation, x: AxisUnits, contracted: Sequence[int]) -> None:
    """A leaf reads along the axes that are contracted, and produces along others."""
    if x.leaf is not None:
        for block in x.blocks:
            read = block.axes[0] in contracted
            e.relations.roles.append((block.units, "reads" if read else "produces"))


def _convolution(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """Input channels are united with what reads them; windows stay whole."""
    numbers = e.params["dimension_numbers"]
    lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    groups = e.params["feature_group_count"]
    if e.params["batch_group_count"] != 1:
        return e.fixed(operands, "the batch is split into groups")
    x = e.whole(operands[0], lhs[2:], WINDOW)
    kernel = e.whole(operands[1], rhs[2:], WINDOW)
    x_batch, inputs = _alone(e, x, lhs[:2])
    outputs, read = _alone(e, kernel, rhs[:2])
    _note_roles(e, operands[1], [rhs[1]])
    for block in (inputs, read):
        e.relations.use(block.units)
    kernel_shape = e.given[1]
    reads = np.where(read.units > 0, read.units, inputs.units[: read.units.size])
    depthwise = groups > 1 and read.units.size == 1
    if groups == 1:
        e.relations.unite(inputs.units, read.units)
    elif depthwise:  # every input makes channels of its own
        e.relations.unite(inputs.units[:, None], outputs.units.reshape(groups, -1))
    else:
        of_groups = inputs.units.reshape(groups, -1)
        e.relations.unite(of_groups, read.units[None])
        e.relations.unite(of_groups[:1], of_groups)
        made_by = outputs.units.reshape(groups, -1)
        e.relations.unite(made_by[:1], made_by)
    (shape,) = e.shapes
    e.note_product(
        math.prod(shape) * math.prod(kernel_shape[axis] for axis in rhs[1:]),
        [x_batch.units, outputs.units, *([] if depthwise else [reads])],
    )
    spatial = [fixed_block(axis, shape[axis]) for axis in out[2:]]
    return [made([x_batch.on(out[:1]), outputs.on(out[1:2]), *spatial])]


def _alone(e: Equation, x: AxisUnits, axes: Sequence[int]) -> list[Block]:
    """The blocks of two axes, each alone; of a joint one the channels stay live."""
    found = {b.axes: b for b in x.blocks}
    for block in x.blocks:
        if len(block.axes) > 1:
            parts = [[axis] for axis in reversed(axes)]
            apart = e.relations.apart(block, parts, e.reason(ROLES), ranked=True)
            found |= {b.axes: b for b in apart}
    return [found[(axis,)] for axis in axes]


PRODUCTS = {"conv_general_dilated": _convolution, "dot_general": _dot_general}
