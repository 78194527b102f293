"""What values lack once units are removed, and the parameters that take it over."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dst_jax.channels.axis_units import FIXED, AxisUnits, Bools, new
from dst_jax.channels.folding.constants import constants
from dst_jax.channels.folding.lacks import (
    Lack,
    Sources,
    Traced,
    TracedStep,
    lacking,
    multiplied,
    sources_of,
)
from dst_jax.channels.folding.moves import MOVES, moved
from dst_jax.channels.folding.partial_values import (
    Numbers,
    known,
    unknown,
)
from dst_jax.channels.folding.sums import WeightedSum, summed
from dst_jax.channels.labelling import Labelling
from dst_jax.channels.reasons import Reason
from dst_jax.channels.replay import Replay
from dst_jax.channels.rules.elementwise import ELEMENTWISE
from dst_jax.jaxprs.dataflow import Domain, NameStacks, results_of
from dst_jax.jaxprs.module_paths import path_of
from dst_jax.jaxprs.weight_labels import shape_of

__all__ = ["Absences"]

ALIVE = "the unit depends on the input"
EDGES = "the unit is constant and not 0, and the window reaches beyond the edges"
MIXED = "the unit is constant and not 0, and the operation is not linear in it"
UNABSORBED = "no parameter was added before to what lacks a constant"
SHARED = Reason("add", "", "the parameter that would take the constant is read twice")
HANDED_ON = ("convert_element_type", "copy", "copy_p", "name", "stop_gradient")
HANDED_ON += ("sharding_constraint", "reduce_precision")
LOOPS = ("scan", "while", "cond", "shard_map")
ORDERED = (*HANDED_ON, "broadcast_in_dim", "reshape", "squeeze")
ADDITIONS = ("add", "add_any", "sub")
SPREAD = ("reduce_window_max", "reduce_window_min")


class Absences(Domain[Traced]):
    """Follows what is removed through a program.

    Args:
      replay: says which positions are kept.
      leaves: numbers of the inputs that are parameters.

    Attributes:
      refused: by component that cannot be removed, why.
      taken: by number of an input, what it takes over.
      alive: components that depend on the input.
    """

    def __init__(self, replay: Replay, leaves: Sequence[int]) -> None:
        self.replay = replay
        self.leaves = frozenset(leaves)
        self.refused: dict[int, Reason] = {}
        self.alive: set[int] = set()
        self.taken: dict[int, Lack] = {}
        self._reads: dict[int, int] = {}

    def constant(self, aval: Any) -> Traced:
        """A constant whose value is not looked at."""
        shape = getattr(aval, "shape", ())
        return Traced(new(shape, FIXED), unknown(len(shape)))

    def captured(self, aval: Any, value: Any) -> Traced:
        """A constant that is known."""
        if jnp.issubdtype(aval.dtype, jax.dtypes.extended):
            return self.constant(aval)
        return replace(self.constant(aval), value=known(value))

    def literal(self, aval: Any, value: Any) -> Traced:
        """A number that is known."""
        units = self._labelling.literal(aval, value)
        return Traced(units, known(np.asarray(value, aval.dtype)))

    def either(self, a: Traced, b: Traced) -> Traced:
        """Loops and branches are not followed."""
        raise AssertionError("loops and branches are not followed")

    def is_whole(self, eqn: core.JaxprEqn) -> bool:
        """Loops and branches are not followed.

        >>> from dst_jax.channels.replay.interpreter import Replay
        >>> nothing = Labelling().relations.components()
        >>> absences = Absences(Replay(Labelling(), nothing, np.ones(1, bool)), ())
        >>> program = jax.make_jaxpr(lambda x: jax.lax.cond(x > 0, abs, abs, x))(1.0)
        >>> absences.is_whole(program.eqns[-1])
        True
        """
        return eqn.primitive.name in LOOPS

    def results(
        self, eqn: core.JaxprEqn, operands: Sequence[Traced], scope: NameStacks
    ) -> list[Traced]:
        """What is known of the results, and what they lack."""
        units = results_of(
            eqn, [x.units for x in operands], self._labelling, scope[:-1]
        )
        path = "/".join(path_of("/".join(filter(None, map(str, scope)))))
        step = TracedStep(eqn, path, operands)
        if eqn.primitive.name in (*MOVES, *HANDED_ON):
            return [self._moved(step, units[0])]
        for x in operands:
            if x.leaf is not None:
                self._reads[x.leaf] = self._reads.get(x.leaf, 0) + 1
        lack = self._lack(step)
        values = (
            [unknown(len(shape_of(var))) for var in eqn.outvars]
            if self.is_whole(eqn)
            else constants(eqn, [x.value for x in operands])
        )
        pairs = zip(units, values, strict=True)
        return [Traced(u, v, self._trimmed(lack, u)) for u, v in pairs]

    def returned(self, results: Sequence[Traced]) -> None:
        """Refuses what the outputs of the program would lack.

        >>> from dst_jax.channels.replay.interpreter import Replay
        >>> nothing = Labelling().relations.components()
        >>> absences = Absences(Replay(Labelling(), nothing, np.ones(1, bool)), ())
        >>> lack = Lack(np.ones(1), frozenset({3}))
        >>> absences.returned([Traced(new((2,), FIXED), unknown(1), lack)])
        >>> list(absences.refused)
        [3]
        """
        for x in results:
            if x.lack is not None:
                self._refuse(x.lack.sources, Reason("output", "", UNABSORBED))

    def finish(self) -> None:
        """Refuses what is taken over by parameters that are read elsewhere too.

        >>> from dst_jax.channels.replay.interpreter import Replay
        >>> nothing = Labelling().relations.components()
        >>> absences = Absences(Replay(Labelling(), nothing, np.ones(1, bool)), ())
        >>> absences.finish()
        >>> absences.refused
        {}
        """
        for leaf, lack in self.taken.items():
            if self._reads.get(leaf, 0) > 1:
                self._refuse(lack.sources, SHARED)

    @property
    def _labelling(self) -> Labelling:
        return self.replay.labelling

    def _moved(self, step: TracedStep, units: AxisUnits) -> Traced:
        """A value moved, copied or cast; a leaf stays one if its order stays."""
        eqn, operands = step.eqn, step.operands
        (value,) = constants(eqn, [x.value for x in operands])
        lacks = [x.lack for x in operands]
        lack = None
        if any(lacks):
            numbers = [
                np.zeros((1,) * len(shape)) if own is None else own.number
                for own, shape in zip(lacks, step.given, strict=True)
            ]
            number = numbers[0]
            if step.name in MOVES:
                shape = shape_of(eqn.outvars[0])
                number = moved(step.name, eqn.params, numbers, step.given, shape)
            lack = Lack(number, sources_of(lacks))
        leaf = operands[0].leaf if step.name in ORDERED else None
        return Traced(units, value, self._trimmed(lack, units), leaf)

    def _lack(self, step: TracedStep) -> Lack | None:
        """What the results of an operation lack."""
        values = [x.value for x in step.operands]
        found = summed(step.name, step.eqn.params, values, step.given)
        if found is not None:
            return self._of_sum(step, found)
        if step.name in ELEMENTWISE:
            return self._elementwise(step)
        sources = sources_of([x.lack for x in step.operands])
        self._refuse(sources, step.reason(MIXED))
        for x in step.operands:
            self._opaque(step, x)
        return None

    def _of_sum(self, step: TracedStep, found: WeightedSum) -> Lack | None:
        """What a sum lacks: removed constants, and what kept positions lack."""
        x = step.operands[found.operand]
        rank = len(step.given[found.operand])
        number = np.zeros((1,) * rank) if x.lack is None else x.lack.number
        sources = sources_of([x.lack])
        for axis in found.axes:
            held = self.replay.held(x.units)[axis]
            if held.all():
                continue
            gone = (~held).reshape([-1 if i == axis else 1 for i in range(rank)])
            absent = gone & found.read
            open_, constant = absent & ~x.value.known, absent & x.value.known
            self.alive |= self._components(x, axis, open_)
            number = np.where(gone, np.where(constant, x.value.number, 0), number)
            own = self._components(x, axis, constant & (number != 0))
            if found.edges:
                self._refuse(own, step.reason(EDGES))
                number = np.where(gone, 0, number)
            else:
                sources |= own
        if not (number * found.read).any():
            return None
        if found.edges or any(number.shape[axis] != 1 for axis in found.window):
            self._refuse(sources, step.reason(EDGES))
            return None
        return Lack(found.of(number), sources)

    def _elementwise(self, step: TracedStep) -> Lack | None:
        lacks = [x.lack for x in step.operands]
        if not any(lacks):
            return None
        if step.name not in ADDITIONS:
            lack = multiplied(step)
            if lack is None:
                self._refuse(sources_of(lacks), step.reason(UNABSORBED))
            return lack
        one, other = lacking(step)
        sign = -1 if step.name == "sub" else 1
        sources = sources_of(lacks)
        others = [x for x in step.operands if x.lack is None]
        # Of what a parameter is added to it takes the lack, one of the two.
        if others and self._absorbed(others[0], sign * (one + other), sources):
            return None
        return Lack(one + sign * other, sources)

    def _absorbed(self, x: Traced, number: Numbers, sources: Sources) -> bool:
        """Whether a parameter takes over what is lacking where it is added."""
        sizes = zip(number.shape, x.value.number.shape, strict=False)
        fits = number.ndim == x.value.number.ndim and all(n in (1, m) for n, m in sizes)
        if x.leaf not in self.leaves or not fits:
            return False
        own = np.broadcast_to(number, x.value.number.shape).ravel()
        before = self.taken.get(x.leaf, Lack(np.zeros(own.size), frozenset()))
        self.taken[x.leaf] = Lack(before.number + own, before.sources | sources)
        return True

    def _opaque(self, step: TracedStep, x: Traced) -> None:
        """Refuses what is removed of an operand, along axes that do not remain."""
        axes: Sequence[int] = range(x.units.rank)
        if step.name in SPREAD:
            return
        if step.name.startswith("reduce_"):
            axes = step.eqn.params["axes"]
        if step.name == "dot_general":
            side = next(i for i, y in enumerate(step.operands) if y is x)
            axes = step.eqn.params["dimension_numbers"][0][side]
        for axis in axes:
            held = self.replay.held(x.units)[axis]
            size = [-1 if i == axis else 1 for i in range(x.units.rank)]
            gone = (~held).reshape(size)
            if step.name == "dot_general":
                gone = gone & ~x.value.zero
            self.alive |= self._components(x, axis, gone & ~x.value.known)
            constant = self._components(x, axis, gone & x.value.known)
            self._refuse(constant, step.reason(MIXED))

    def _components(self, x: Traced, axis: int, marked: Bools) -> Sources:
        """Components of units at marked positions of an axis that are removed."""
        held = self.replay.held(x.units)[axis]
        others = tuple(i for i in range(marked.ndim) if i != axis)
        at = np.flatnonzero(marked.any(others) & ~held)
        block = x.units.block(axis)
        units = np.take(block.units, at, block.axes.index(axis))
        found = np.unique(self.replay.components.of(units))
        return frozenset(n for n in found.tolist() if n > 0 and not self.replay.kept[n])

    def _trimmed(self, lack: Lack | None, units: AxisUnits) -> Lack | None:
        """What is lacking where positions are kept."""
        if lack is None or lack.number.ndim != units.rank:
            return lack
        number = lack.number
        for axis, held in enumerate(self.replay.held(units)):
            if number.shape[axis] != 1:
                sizes = [-1 if i == axis else 1 for i in range(units.rank)]
                number = np.where(held.reshape(sizes), number, 0)
        return Lack(number, lack.sources) if number.any() else None

    def _refuse(self, components: Sources, reason: Reason) -> None:
        for component in components:
            self.refused.setdefault(component, reason)
