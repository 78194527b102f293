"""Which operation made every value of a program, and out of which values."""

from collections.abc import Sequence
from typing import NamedTuple

from dst_jax.channels.axis_units import AxisUnits
from dst_jax.channels.rules.equation import Equation

__all__ = ["LOOP", "UnitOperation", "ValueGraph"]

LOOP = -1
"""The number of a value that is one of several: of a loop, or of a branch."""


class UnitOperation(NamedTuple):
    """An operation and the units of its operands, which hold their numbers."""

    equation: Equation
    operands: tuple[AxisUnits, ...]

    @property
    def read(self) -> tuple[tuple[int, ...], ...]:
        """By operand, its axes that the results do not have: summed, or reduced.

        >>> from dst_jax.channels.relations import Relations
        >>> total = Equation("reduce_sum", "", Relations(), {"axes": (1,)})
        >>> UnitOperation(total, ()).read
        ((1,),)
        """
        name, params = self.equation.name, self.equation.params
        if name == "dot_general":
            contracted, _ = params["dimension_numbers"]
            return tuple(map(tuple, contracted))
        if name == "conv_general_dilated":
            numbers = params["dimension_numbers"]
            if self.is_depthwise:
                return ((), ())
            return ((numbers.lhs_spec[1],), (numbers.rhs_spec[1],))
        if name.startswith("reduce_") and "axes" in params:
            return (tuple(params["axes"]),) * max(1, len(self.operands))
        return ((),) * len(self.operands)

    @property
    def is_depthwise(self) -> bool:
        """Whether it is a convolution whose channels each make their own."""
        if self.equation.name != "conv_general_dilated":
            return False
        reads = self.equation.given[1][self.equation.params["dimension_numbers"][1][1]]
        return self.equation.params["feature_group_count"] > 1 and reads == 1


class ValueGraph:
    """Collects operations; a value has the number of the one that made it.

    >>> graph = ValueGraph()
    >>> from dst_jax.channels.relations import Relations
    >>> graph.made_by(Equation("exp", "", Relations()), []), len(graph.operations)
    (0, 1)
    """

    def __init__(self) -> None:
        self.operations: list[UnitOperation] = []

    def made_by(self, equation: Equation, operands: Sequence[AxisUnits]) -> int:
        """The number of what an equation makes of its operands."""
        self.operations.append(UnitOperation(equation, tuple(operands)))
        return len(self.operations) - 1

    @staticmethod
    def either(a: AxisUnits, b: AxisUnits) -> int | None:
        """The number of what is one value or another.

        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> ValueGraph.either(new((2,), FIXED), new((2,), FIXED)) is None
        True
        """
        same = a.value == b.value and (a.value is not None or a.leaf == b.leaf)
        return a.value if same else LOOP
