"""Positions that data choose."""

from collections.abc import Sequence

from dst_jax.channels.axis_units import AxisUnits, fixed_block, made
from dst_jax.channels.rules.equation import Equation
from dst_jax.channels.rules.positions import size_of, united

__all__ = ["INDEXING"]

WINDOW = "only a part of the axis is taken, from a place that depends on data"


def _dynamic_slice(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    x, *starts = operands
    e.fixed(starts, "it says where to cut")
    (shape,) = e.shapes
    cut = [axis for axis in range(x.rank) if size_of(x, axis) != shape[axis]]
    x = e.whole(x, cut, WINDOW)
    rest = [b for b in x.blocks if b.axes[0] not in cut]
    return [made([*rest, *(fixed_block(axis, shape[axis]) for axis in cut)])]


def _dynamic_update_slice(
    e: Equation, operands: Sequence[AxisUnits]
) -> list[AxisUnits]:
    x, update, *starts = operands
    e.fixed(starts, "it says where to write")
    cut = [axis for axis in range(x.rank) if size_of(x, axis) != size_of(update, axis)]
    x, update = (e.whole(value, cut, WINDOW) for value in (x, update))
    rest = [[b for b in v.blocks if b.axes[0] not in cut] for v in (x, update)]
    kept = [b for b in x.blocks if b.axes[0] in cut]
    return [made([*united(e, rest), *kept])]


def _gather(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """Axes that are taken whole keep their units."""
    x, indices = operands
    (shape,) = e.shapes
    e.fixed([indices], "it is an index")
    numbers, sizes = e.params["dimension_numbers"], e.params["slice_sizes"]
    gone = (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims)
    offsets = [axis for axis in range(x.rank) if axis not in gone]
    to = dict(zip(offsets, numbers.offset_dims, strict=True))
    whole = [a for a in offsets if sizes[a] == size_of(x, a)]
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


INDEXING = {
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
}
