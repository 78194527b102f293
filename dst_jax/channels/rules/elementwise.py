"""Operations that act position by position."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from dst_jax.channels.axis_units import (
    FREE,
    AxisUnits,
    Block,
    Bools,
    fixed_block,
    free_block,
    made,
)
from dst_jax.channels.rules.equation import Equation

__all__ = ["ELEMENTWISE", "aligned", "elementwise", "hand_on"]

# Of 0 they make 0.
ODD = {
    "abs",
    "asin",
    "asinh",
    "atan",
    "atanh",
    "cbrt",
    "ceil",
    "conj",
    "copy",
    "copy_p",
}
ODD |= {"convert_element_type", "erf", "erf_inv", "expm1", "floor", "imag", "log1p"}
ODD |= {"neg", "name", "real", "reduce_precision", "round", "sharding_constraint"}
ODD |= {"sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "tan", "tanh"}
ODD |= {"pvary", "device_put", "population_count", "bessel_i1e"}
ODD |= {"bitcast_convert_type", "dst_jax_tap"}
OTHERS = {"acos", "acosh", "bessel_i0e", "clz", "cos", "cosh", "digamma", "erfc", "exp"}
OTHERS |= {"exp2", "is_finite", "lgamma", "log", "logistic", "not", "rsqrt"}
# Of two or three operands.
ALL = {"add", "add_any", "sub", "or", "xor", "complex", "atan2", "nextafter"}
ANY = {"mul", "and"}
FIRST = {"div", "rem", "shift_left", "shift_right_logical"}
FIRST |= {"shift_right_arithmetic"}
NEVER = {"eq", "ge", "gt", "le", "lt", "ne", "igamma", "igammac", "polygamma", "zeta"}
NEVER |= {"eq_to", "le_to", "lt_to", "regularized_incomplete_beta"}
ELEMENTWISE = ODD | OTHERS | ALL | ANY | FIRST | NEVER
ELEMENTWISE |= {"max", "min", "clamp", "integer_pow", "pow", "select_n"}
SPLIT = "an axis split into several is used whole along all but one of them"


def elementwise(equation: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """The results of an elementwise operation: the same positions are united.

    >>> from dst_jax.channels.axis_units import FIXED, new
    >>> from dst_jax.channels.relations import Relations
    >>> relations = Relations()
    >>> units = relations.fresh(3)
    >>> leaf = made([Block((0,), units, np.ones(3, bool))])
    >>> equation = Equation("add", "", relations, shapes=[(3,)])
    >>> _ = elementwise(equation, [leaf, new((3,), FIXED)])
    >>> relations.components().of(units).tolist()
    [0, 0, 0]
    """
    shape = equation.shapes[0]
    spread = [_spread(operand, shape) for operand in operands]
    blocks = aligned(equation, [x.blocks for x in spread])
    zero = _zero_rule(equation.name, operands, equation.params.get("y"))
    results = [
        Block(same[0].axes, units, zero([block.zero for block in same]))
        for units, same in blocks
    ]
    if _leaf(operands) is None:
        _note_roles(equation, operands)
    return [made(results, constant=_constant(equation, operands), leaf=_leaf(operands))]


def hand_on(equation: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """The results of an operation that hands on each operand.

    >>> from dst_jax.channels.axis_units import FIXED, new
    >>> from dst_jax.channels.relations import Relations
    >>> equation = Equation("optimization_barrier", "", Relations())
    >>> len(hand_on(equation, [new((3,), FIXED)] * 2))
    2
    """
    del equation
    return list(operands)


def aligned(
    equation: Equation, values: Sequence[Sequence[Block]]
) -> list[tuple[np.ndarray, list[Block]]]:
    """The united units of values of one shape, and their blocks of these axes.

    >>> from dst_jax.channels.relations import Relations
    >>> equation = Equation("add", "", Relations())
    >>> ((units, same),) = aligned(equation, [[free_block(0, 2)], [fixed_block(0, 2)]])
    >>> units.tolist(), len(same)
    ([0, 0], 2)
    """
    joint = _partition(values)
    found = []
    parts = [_cut(equation, blocks, joint) for blocks in values]
    for axes in joint:
        same = [part[axes] for part in parts]
        units = same[0].units
        for block in same[1:]:
            equation.relations.unite(units, block.units)
            units = np.where(units == FREE, block.units, units)
        found.append((units, same))
    return found


def _partition(values: Sequence[Sequence[Block]]) -> list[tuple[int, ...]]:
    """The axes that stay together: those of joint blocks that no other block cuts."""
    rank = sum(len(block.axes) for block in values[0])
    live = {b.axes for blocks in values for b in blocks if not b.free}
    joint = {tuple(sorted(axes)) for axes in live if len(axes) > 1}
    single = {axes for axes in live if len(axes) == 1}
    whole = [
        axes
        for axes in joint
        if not any((a,) in single for a in axes)
        and not any(set(axes) & set(other) for other in joint - {axes})
    ]
    rest = [(a,) for a in range(rank) if not any(a in axes for axes in whole)]
    return sorted([*whole, *rest])


def _cut(
    equation: Equation, blocks: Sequence[Block], joint: Sequence[tuple[int, ...]]
) -> dict[tuple[int, ...], Block]:
    """Blocks cut or put together to these axes."""
    found: dict[tuple[int, ...], Block] = {}
    for block in blocks:
        if tuple(sorted(block.axes)) in joint:
            axes = tuple(sorted(block.axes))
            found[axes] = block.ordered(axes)
        elif len(block.axes) > 1:
            reason = equation.reason(SPLIT)
            parts = [[axis] for axis in block.axes]
            found |= {b.axes: b for b in equation.relations.apart(block, parts, reason)}
    for axes in joint:  # free along all of these axes
        if axes not in found:
            own = [b for b in blocks if b.axes[0] in axes]
            sizes = [b.units.size for b in sorted(own, key=lambda b: b.axes)]
            zero = all(b.zero.all() for b in own)
            found[axes] = Block(axes, np.full(sizes, FREE), np.full(sizes, zero))
    return found


def _spread(operand: AxisUnits, shape: Sequence[int]) -> AxisUnits:
    """An operand in the shape of the result: axes of size 1 are repeated."""
    zero = operand.constant == 0
    if not operand.blocks:
        blocks = [free_block(i, n, zero=zero) for i, n in enumerate(shape)]
        return AxisUnits(tuple(blocks), operand.constant)
    blocks: list[Block] = []
    for block in operand.blocks:
        sizes = dict(zip(block.axes, block.units.shape, strict=True))
        if all(shape[axis] == size for axis, size in sizes.items()):
            blocks.append(block)
            continue
        for axis, size in sizes.items():  # a block of one axis, or not live
            make = free_block if size != shape[axis] else fixed_block
            blocks.append(make(axis, shape[axis], zero=zero))
    return made(blocks, constant=operand.constant)


def _zero_rule(
    name: str, operands: Sequence[AxisUnits], exponent: float | None
) -> Callable[[Sequence[Bools]], Bools]:
    """Where the result is 0, from where the operands are."""
    constants = [operand.constant for operand in operands]
    if name in ANY:
        return lambda zeros: np.logical_or.reduce(zeros)
    if name in FIRST or name in ODD:
        return lambda zeros: zeros[0]
    if name in ALL:
        return lambda zeros: np.logical_and.reduce(zeros)
    if name in ("integer_pow", "pow"):  # a power of 0 is 0 if the exponent is above 0
        exponent = exponent if name == "integer_pow" else constants[1]
        above = exponent is not None and exponent > 0
        return lambda zeros: zeros[0] & above
    if name == "select_n":  # where the predicate does not matter
        return lambda zeros: np.logical_and.reduce(zeros[1:])
    if name == "clamp":
        inside = _at_most(constants[0], 0) and _at_most(0, constants[2])
        return lambda zeros: zeros[1] & inside
    if name in ("max", "min"):
        return _extreme(name, constants)
    return lambda zeros: np.zeros_like(zeros[0])


def _extreme(
    name: str, constants: Sequence[float | None]
) -> Callable[[Sequence[Bools]], Bools]:
    """`max(0, c)` is 0 if `c` is at most 0, and `min(0, c)` if it is at least 0."""
    for i, constant in enumerate(constants):
        below = _at_most(constant, 0) if name == "max" else _at_most(0, constant)
        if below:
            return lambda zeros: zeros[1 - i]
    return lambda zeros: np.logical_and.reduce(zeros)


def _at_most(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and a <= b


def _constant(equation: Equation, operands: Sequence[AxisUnits]) -> float | None:
    """The number that the result is everywhere, where that is plain."""
    if equation.name in ("convert_element_type", "copy", "stop_gradient"):
        return operands[0].constant
    if equation.name == "neg" and operands[0].constant is not None:
        return -operands[0].constant
    if equation.name == "mul" and any(x.constant == 0 for x in operands):
        others = [x.constant for x in operands if x.constant != 0]
        return 0.0 if all(c is not None and math.isfinite(c) for c in others) else None
    return None


def _leaf(operands: Sequence[AxisUnits]) -> int | None:
    """The leaf that the result is made of, next to constants."""
    leaves = {operand.leaf for operand in operands if operand.constant is None}
    return leaves.pop() if len(leaves) == 1 else None


def _note_roles(equation: Equation, operands: Sequence[AxisUnits]) -> None:
    """Leaves that are multiplied into a value scale it, those that are added shift."""
    role = {"mul": "scales", "div": "scales", "add": "shifts", "sub": "shifts"}
    for operand in operands:
        if operand.leaf is not None and equation.name in role:
            for block in operand.blocks:
                equation.relations.roles.append((block.units, role[equation.name]))
