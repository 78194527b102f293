"""Which rule holds for which primitive."""

from collections.abc import Callable, Sequence

from dst_jax.channels.axis_units import AxisUnits
from dst_jax.channels.rules.contractions import PRODUCTS
from dst_jax.channels.rules.elementwise import ELEMENTWISE, elementwise, hand_on
from dst_jax.channels.rules.equation import Equation
from dst_jax.channels.rules.indexing import INDEXING
from dst_jax.channels.rules.moves import MOVES
from dst_jax.channels.rules.reductions import REDUCTIONS

__all__ = ["apply"]

UnitRule = Callable[[Equation, Sequence[AxisUnits]], list[AxisUnits]]


def _bits(equation: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """Bits read as numbers of as many bits go position by position."""
    if equation.given != equation.shapes:
        return equation.fixed(operands, "numbers of other sizes share its bits")
    return elementwise(equation, operands)


RULES: dict[str, UnitRule] = {
    **dict.fromkeys(ELEMENTWISE, elementwise),
    **INDEXING,
    **MOVES,
    **PRODUCTS,
    **REDUCTIONS,
    "optimization_barrier": hand_on,
    "bitcast_convert_type": _bits,
}
RANDOM = ("random_", "rng_", "threefry")
UNKNOWN = "channels has no rule for this operation"


def apply(equation: Equation, operands: Sequence[AxisUnits]) -> list[AxisUnits]:
    """The units of an equation's results; relations go to `equation.relations`.

    An operation without a rule fixes all its operands and says so. What depends on no
    unit needs no rule: its results are fixed, or free if all operands are.

    >>> from dst_jax.channels.axis_units import FREE, new
    >>> from dst_jax.channels.relations import Relations
    >>> equation = Equation("iota", "", Relations(), shapes=[(2,)])
    >>> apply(equation, [])[0].blocks[0].units.tolist()
    [0, 0]
    """
    if equation.name.startswith(RANDOM):
        return equation.free()
    rule = RULES.get(equation.name)
    if rule is None:
        return equation.fixed(operands, UNKNOWN)
    return rule(equation, operands)
