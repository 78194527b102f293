"""Branches that may vanish: what depends on an input through one sum over units alone.

A contraction or a sum over all units of a group carries all that follows from it, up to
an addition whose other operand depends on the inputs in another way. If the group is
emptied, the branch is a constant and the other operand remains.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce

from dst_jax.channels.axis_units import AxisUnits, Ints
from dst_jax.channels.choices import Components
from dst_jax.channels.reasons import Reason
from dst_jax.channels.rules.equation import Equation

__all__ = ["LONE", "Branches"]

ADDITIONS = ("add", "add_any", "sub")
RANDOM = ("random_", "rng_", "threefry")
LONE = Reason("group", "", "no product or sum runs over the group alone")
BOTH = "without the group both of its operands are constant"
BRANCHING = Reason("cond", "", "without the group it would be constant in a loop")
OUTPUT = Reason("output", "", "without the group it would not depend on the input")
NO_SUM = "without the group one of its operands is constant, and it is no addition"


class Branches:
    """Collects the sums over units, and which of them carry more than an addend.

    >>> import numpy as np
    >>> branches = Branches()
    >>> branches.outputs([])
    >>> list(branches.needed(Components(np.arange(2), np.ones(2, bool)), {}))
    []
    """

    def __init__(self) -> None:
        self._sums: list[Ints] = []
        self._additions: list[tuple[int, int, Reason]] = []
        self._refused: dict[int, Reason] = {}

    def of(self, equation: Equation, operands: Sequence[AxisUnits]) -> int | None:
        """The carriers of the results of an equation, see `AxisUnits`.

        >>> from dst_jax.channels.relations import Relations
        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> Branches().of(Equation("exp", "", Relations()), [new((2,), FIXED)]) is None
        True
        """
        found = [x.carriers for x in operands if x.carriers is not None]
        if not found or equation.name.startswith(RANDOM):
            return None
        common = reduce(int.__and__, found)
        if equation.name not in ADDITIONS:
            self._refuse(found, common, equation.reason(NO_SUM))
        elif len(found) == 2:
            one, other = (bits & ~common for bits in found)
            self._additions.append((one, other, equation.reason(BOTH)))
        for units in _summed(equation, operands):
            common |= 1 << len(self._sums)
            self._sums.append(units)
        return common

    def either(self, a: AxisUnits, b: AxisUnits) -> int | None:
        """The carriers of what is one value or another.

        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> Branches().either(new((2,), FIXED), new((2,), FIXED)) is None
        True
        """
        if a.carriers is None and b.carriers is None:
            return None
        found = [x.carriers or 0 for x in (a, b)]
        common = reduce(int.__and__, found)
        self._refuse(found, common, BRANCHING)
        return common

    def outputs(self, results: Iterable[AxisUnits]) -> None:
        """Says which values the function returns: they may not become constants.

        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> Branches().outputs([new((2,), FIXED)])
        """
        self._refuse([x.carriers or 0 for x in results], 0, OUTPUT)

    def needed(
        self, components: Components, place: Mapping[int, tuple[str, int]]
    ) -> dict[str, Reason | None]:
        """By group, why it may not be emptied; a group that may has no reason.

        Args:
          components: the components of all units.
          place: by component, `(name of the group, unit)`.

        >>> import numpy as np
        >>> components = Components(np.arange(2), np.ones(2, bool))
        >>> Branches().needed(components, {1: ("fc", 0)})["fc"] is LONE
        True
        """
        carried: dict[str, int] = {name: 0 for name, _ in place.values()}
        for number, units in enumerate(self._sums):
            over = {place.get(n, ("", 0))[0] for n in components.of(units).tolist()}
            name = over.pop()
            if name and not over:
                carried[name] |= 1 << number
        return {name: self._why(bits) for name, bits in carried.items()}

    def _why(self, sums: int) -> Reason | None:
        """Why not all of these sums may vanish together."""
        if not sums:
            return LONE
        for number, reason in self._refused.items():
            if sums >> number & 1:
                return reason
        for one, other, reason in self._additions:
            if one & sums and other & sums:
                return reason
        return None

    def _refuse(self, found: Sequence[int], common: int, reason: Reason) -> None:
        lost = reduce(int.__or__, found, 0) & ~common
        while lost:
            low = lost & -lost
            self._refused.setdefault(low.bit_length() - 1, reason)
            lost ^= low


def _summed(equation: Equation, operands: Sequence[AxisUnits]) -> list[Ints]:
    """Units of the axes over which an equation sums, or next to which it puts zeros."""
    axes: Sequence[int] = ()
    match equation.name:
        case "dot_general":
            ((axes, _), _) = equation.params["dimension_numbers"]
        case "reduce_sum":
            axes = equation.params["axes"]
        case "pad":
            edges = equation.params["padding_config"]
            axes = [axis for axis, edge in enumerate(edges) if any(edge)]
        case "conv_general_dilated":
            numbers = equation.params["dimension_numbers"]
            reads = equation.given[1][numbers.rhs_spec[1]]
            groups = equation.params["feature_group_count"]
            axes = () if groups > 1 and reads == 1 else (numbers.lhs_spec[1],)
    blocks = [operands[0].block(axis) for axis in axes]
    return [b.units for b in blocks if len(b.axes) == 1 and b.live]
