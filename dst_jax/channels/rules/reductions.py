"""Reductions, windows and operations that mix the positions of an axis."""

from collections.abc import Sequence

from dst_jax.channels.axis_units import AxisUnits, Block, fixed_block, made
from dst_jax.channels.rules.equation import Equation

__all__ = ["REDUCTIONS"]

MIXED = "its results depend on the order or the number of positions"
SPOILED = "it runs over the axis, and a removed position is not 0 there"
EXTREME = "it runs over the axis, and sees 0 where a position is zeroed"


def _reduce_sum(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    return _reduced(e, operands, of_zeros=True)


def _reduce(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    return _reduced(e, operands, of_zeros=False)


def _reduced(
    e: Equation, operands: Sequence[AxisUnits], *, of_zeros: bool
) -> list[AxisUnits]:
    """The axes go; what is removed changes the result unless a sum saw 0 there."""
    axes = e.params["axes"]
    results = []
    for operand in operands:
        x = _kept_whole(e, operand, axes)
        rest: list[Block] = []
        for block in x.blocks:
            e.relations.use(block.units)
            if block.axes[0] not in axes:
                rest.append(block)
            elif of_zeros:
                e.relations.spoil(block.units[~block.zero], e.reason(SPOILED))
            else:
                e.relations.spoil(block.units, e.reason(EXTREME))
        left = [axis for axis in range(x.rank) if axis not in axes]
        to = {axis: i for i, axis in enumerate(left)}
        moved = [b.on([to[axis] for axis in b.axes]) for b in rest]
        results.append(made(moved, leaf=x.leaf))
    return results


def _kept_whole(e: Equation, x: AxisUnits, axes: Sequence[int]) -> AxisUnits:
    """Joint blocks of which some axes are reduced: one side of them is made uniform."""
    outer = e.relations.split == "outer"
    uniform = [
        axis
        for block in x.blocks
        if set(block.axes) & set(axes) and not set(block.axes) <= set(axes)
        for axis in block.axes
        if (axis in axes) == outer
    ]
    return e.whole(x, uniform, "it is reduced")


def _along(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """Operations along one axis, which keeps all its positions."""
    axis = e.params["axis"]
    return [e.whole(x, [axis], MIXED) for x in operands]


def _sort(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axis = e.params["dimension"]
    kept = [e.whole(x, [axis], MIXED) for x in operands]
    return [AxisUnits(x.blocks) for x in kept]


def _argument(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    axes = e.params["axes"]
    (x,) = operands
    x = e.whole(x, axes, MIXED)
    left = [axis for axis in range(x.rank) if axis not in axes]
    to = {axis: i for i, axis in enumerate(left)}
    rest = [b for b in x.blocks if b.axes[0] in to]
    return [made([b.on([to[a] for a in b.axes]) for b in rest])]


def _windows(e: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """Axes with a window of 1 keep their units; of a sum, zeros as well."""
    (shape,), x = e.shapes, operands[0]
    sizes = e.params["window_dimensions"]
    trivial = [
        (e.params[name] or [1] * x.rank)
        for name in ("window_strides", "base_dilation", "window_dilation")
    ]
    cut = [
        axis
        for axis in range(x.rank)
        if sizes[axis] != 1
        or any(numbers[axis] != 1 for numbers in trivial)
        or tuple(e.params["padding"][axis]) != (0, 0)
    ]
    x = e.whole(x, cut, "it is the height or width of a window")
    kept = [b for b in x.blocks if b.axes[0] not in cut]
    return [made([*kept, *(fixed_block(axis, shape[axis]) for axis in cut)])]


REDUCTIONS = {
    "argmax": _argument,
    "argmin": _argument,
    "cumlogsumexp": _along,
    "cummax": _along,
    "cummin": _along,
    "cumprod": _along,
    "cumsum": _along,
    "reduce_and": _reduce,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_or": _reduce,
    "reduce_prod": _reduce,
    "reduce_sum": _reduce_sum,
    "reduce_window_max": _windows,
    "reduce_window_min": _windows,
    "reduce_window_sum": _windows,
    "reduce_xor": _reduce,
    "sort": _sort,
}
