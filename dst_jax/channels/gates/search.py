"""The search for the last affine maps before the readers of one group's units."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dst_jax.channels.axis_units import AxisUnits, Ints
from dst_jax.channels.gates.live_groups import LiveGroups
from dst_jax.channels.partition import LeafAxis, is_statistic
from dst_jax.channels.reasons import Reason
from dst_jax.channels.value_graph import LOOP, UnitOperation

__all__ = ["Reader", "Refused", "Search"]

MOVES = {"broadcast_in_dim", "reshape", "transpose", "squeeze", "expand_dims"}
MOVES |= {"convert_element_type", "copy", "copy_p", "rev", "reduce_precision"}
NOT_ZERO = "what it reads is not 0 where the gate is 0"
NORMALISED = "it divides the gate out again, and has no scale that could take it"
TWICE = "a gate before it would be multiplied again behind it"
LOOPS = Reason("scan", "", "a loop or a branch hands its values on")
CONSTANT = "no parameter makes its operand"


class Refused(Exception):
    """A group has no place for gates.

    >>> print(Refused(Reason("rsqrt", "bn1", "it normalises")))
    it normalises (rsqrt in bn1)
    """

    def __init__(self, reason: Reason):
        super().__init__(str(reason))
        self.reason = reason


@dataclass(frozen=True)
class Reader:
    """An operation that reads units, and its operands, of which one takes the gates."""

    operation: UnitOperation
    operands: tuple[tuple[AxisUnits, tuple[int, ...]], ...]


@dataclass(frozen=True)
class _Wanted:
    """A value that is to be multiplied by the gates.

    Attributes:
      value: the value.
      along: raw units of the axis that is meant, where a leaf has two of the group.
    """

    value: AxisUnits
    along: Ints | None = None


@dataclass
class Search:
    """The search for the places of one group.

    Attributes:
      known: the operations, and the groups along the axes of their operands.
      group: number of the group.
      own: its members.
      places: the axes of leaves that were found.
      beside: what is multiplied with what takes a gate, and where: no gate may be
        before it.
      seen: numbers of values that were gone through.
    """

    known: LiveGroups
    group: int
    own: set[LeafAxis]
    places: set[LeafAxis] = field(default_factory=set)
    beside: list[tuple[AxisUnits, UnitOperation]] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def find(self, readers: Sequence[Reader]) -> set[LeafAxis]:
        """The places before all readers.

        Raises:
          Refused: there is none before one of them.
        """
        for reader in readers:
            self._read(reader)
        self._check()
        return self.places

    def _read(self, reader: Reader) -> None:
        """Finds the places before one reader, in the first operand that has any."""
        options: list[list[_Wanted]] = []
        for x, axes in reader.operands:
            if not self.known.zero(x, axes, self.group):
                raise Refused(reader.operation.equation.reason(NOT_ZERO))
            if self.group in self.known.on(x, axes):
                options.append([_Wanted(x)])
        self._any(options, reader.operation)

    def _check(self) -> None:
        """Refuses a second gate before any that multiplies."""
        seen: set[int] = set()
        for start, operation in self.beside:
            todo = [start]
            while todo:
                x = todo.pop()
                if self.places & self._axes(x):
                    raise Refused(operation.equation.reason(TWICE))
                if x.value is None or x.value == LOOP or x.value in seen:
                    continue
                seen.add(x.value)
                todo += self._before(self.known.graph.operations[x.value])

    def _any(self, options: Sequence[list[_Wanted]], operation: UnitOperation) -> None:
        """Takes the first of several choices that is not refused."""
        refused = Refused(operation.equation.reason(CONSTANT))
        for wanted in options:
            trial = Search(self.known, self.group, self.own, seen=set(self.seen))
            try:
                trial._all(wanted)
            except Refused as error:
                refused = error
                continue
            self.places |= trial.places
            self.beside += trial.beside
            self.seen |= trial.seen
            return
        raise refused

    def _all(self, wanted: list[_Wanted]) -> None:
        """Finds the places for all of these values."""
        todo = list(wanted)
        while todo:
            one = todo.pop()
            value = one.value.value
            if value == LOOP:
                raise Refused(LOOPS)
            if value is None:
                self._take(one)
            elif value not in self.seen:
                self.seen.add(value)
                todo += self._through(self.known.graph.operations[value], one)

    def _take(self, one: _Wanted) -> None:
        """Puts the gates into a leaf."""
        axes = self._axes(one.value)
        if len(axes) > 1 and one.along is not None:
            axes = {
                (path, axis)
                for path, axis in axes
                if np.isin(self.known.found.axes[path, axis], one.along).any()
            }
        if any(is_statistic(path) for path, _ in axes):
            raise Refused(Reason("group", sorted(axes)[0][0], NORMALISED))
        self.places |= axes

    def _axes(self, x: AxisUnits) -> set[LeafAxis]:
        """The axes of the group that a value has if it is a leaf."""
        if x.value is not None or x.leaf is None:
            return set()
        path = self.known.paths[x.leaf]
        return {(path, axis) for axis in range(x.rank) if (path, axis) in self.own}

    def _through(self, operation: UnitOperation, one: _Wanted) -> list[_Wanted]:
        """What has to be multiplied so that the result of an operation is."""
        name = operation.equation.name
        if name in ("mul", "div", "and"):
            return self._factor(operation, one)
        if name in ("dot_general", "conv_general_dilated"):
            return self._of_product(operation)
        return [_Wanted(x, one.along) for x in self._before(operation)]

    def _of_product(self, operation: UnitOperation) -> list[_Wanted]:
        """The operand of which the units are outputs; the kernel where both have them.

        Operands that have them along a batch axis are alternatives.
        """
        sides = [
            (x, [axis for axis in range(x.rank) if axis not in read])
            for x, read in zip(operation.operands, operation.read, strict=True)
        ]
        having = [
            (x, [axis for axis in axes if self.group in self.known.on(x, [axis])])
            for x, axes in sides
        ]
        wanted = [
            (x, _Wanted(x, np.concatenate([x.block(a).units.ravel() for a in axes])))
            for x, axes in having
            if axes
        ]
        if operation.equation.name == "conv_general_dilated":
            wanted = wanted[::-1]
        options = [[want] for _, want in wanted]
        self._any(options, operation)
        if operation.is_depthwise:
            self.beside += [(x, operation) for x, _ in wanted[1:]]
        return []

    def _factor(self, operation: UnitOperation, one: _Wanted) -> list[_Wanted]:
        """The factor of a product that takes the gates: a parameter if there is one."""
        factors, divisors = self._factors(operation)
        taken = next((x for x in factors if self._is_parameter(x)), None)
        if taken is not None:
            rest = [x for x in (*factors, *divisors) if x is not taken]
            self.beside += [(x, operation) for x in rest]
            return [_Wanted(taken, one.along)]
        if divisors or any(self._normalises(x) for x in factors):
            raise Refused(operation.equation.reason(NORMALISED))
        self._any([[_Wanted(x, one.along)] for x in factors], operation)
        return []

    def _factors(
        self, operation: UnitOperation
    ) -> tuple[list[AxisUnits], list[AxisUnits]]:
        """What is multiplied in a product of products, and what it is divided by."""
        factors: list[AxisUnits] = []
        divisors: list[AxisUnits] = []
        todo = [operation]
        while todo:
            inner = todo.pop()
            operands = inner.operands
            if inner.equation.name == "div":
                operands = inner.operands[:1]
                divisors += filter(self._is_live, inner.operands[1:])
            for x in filter(self._is_live, operands):
                made = self._maker(x)
                if made is not None and made.equation.name in ("mul", "div"):
                    todo.append(made)
                else:
                    factors.append(x)
        return factors, divisors

    def _maker(self, x: AxisUnits) -> UnitOperation | None:
        """What made a value before it was moved; None for a leaf."""
        while x.value is not None and x.value != LOOP:
            operation = self.known.graph.operations[x.value]
            if operation.equation.name not in MOVES:
                return operation
            x = operation.operands[0]
        return None

    def _is_parameter(self, x: AxisUnits) -> bool:
        if x.leaf is None or self._maker(x) is not None:
            return False
        return not is_statistic(self.known.paths[x.leaf])

    def _normalises(self, x: AxisUnits) -> bool:
        maker = self._maker(x)
        if maker is None:
            return x.leaf is not None and is_statistic(self.known.paths[x.leaf])
        return _divides(maker)

    def _before(self, operation: UnitOperation) -> list[AxisUnits]:
        """The operands of which the result has the units."""
        read = operation.read
        return [
            x
            for x, axes in zip(operation.operands, read, strict=False)
            if any(
                self.group in self.known.of_block(block)
                for block in x.blocks
                if not set(block.axes) <= set(axes)
            )
        ]

    def _is_live(self, x: AxisUnits) -> bool:
        return self.known.live(x, self.group)


def _divides(operation: UnitOperation) -> bool:
    """Whether an operation is a power with a negative exponent, or one unknown."""
    match operation.equation.name:
        case "integer_pow":
            return operation.equation.params["y"] < 0
        case "pow":
            exponent = operation.operands[1].constant
            return exponent is None or exponent < 0
        case name:
            return name == "rsqrt"
