"""The interpreter: labels values once more, and binds equations on what is kept."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import Array

from dst_jax.channels.axis_units import AxisUnits, Bools
from dst_jax.channels.choices import Components
from dst_jax.channels.labelling import Labelling
from dst_jax.channels.relations import SplitSide
from dst_jax.channels.replay import operations, smaller_calls
from dst_jax.channels.replay.emptied import is_zero, zeros
from dst_jax.channels.replay.held_positions import Held, Small, held_of, relaid
from dst_jax.jaxprs.binding import bind, typed
from dst_jax.jaxprs.calls import Called
from dst_jax.jaxprs.dataflow import NameStacks, followed, results_of

__all__ = ["Replay"]


class Replay:
    """Binds the equations of a program again, on the positions that are kept.

    Args:
      labelling: has followed units through the program.
      components: those of its relations.
      kept: by component, whether it is kept.
    """

    def __init__(self, labelling: Labelling, components: Components, kept: Bools):
        self.labelling = labelling
        self.components = components
        self.kept = kept

    @classmethod
    def of(
        cls,
        program: Called,
        inputs: Sequence[AxisUnits],
        kept: Bools,
        *,
        split: SplitSide = "outer",
    ) -> "Replay":
        """What replays a program.

        Args:
          program: the program.
          inputs: units of its inputs.
          kept: by unit of the inputs, whether it is kept.
          split: see `Relations`.

        Raises:
          ValueError: the program ties units that are removed to others that are not.

        >>> from dst_jax.channels.axis_units import Block, made
        >>> from dst_jax.jaxprs.calls import opened
        >>> program = opened(jax.make_jaxpr(lambda x: 2 * x)(np.ones(3)))
        >>> units = made([Block((0,), np.array([1, 2, 3]), np.ones(3, bool))])
        >>> kept = np.array([True, True, False, True])
        >>> replay = Replay.of(program, [units], kept)
        >>> (doubled,) = replay.run(program, [Small(jax.numpy.ones(2), units)])
        >>> doubled.array.tolist()
        [2.0, 2.0]
        """
        labelling = Labelling(first=len(kept), split=split)
        followed(program, inputs, labelling)
        components = labelling.relations.components()
        numbers = components.numbers[: len(kept)]
        of_components = np.ones(len(components.used), bool)
        np.logical_and.at(of_components, numbers, kept)
        torn = kept & ~of_components[numbers]
        if torn.any():
            raise ValueError(_torn(labelling, components, of_components))
        return cls(labelling, components, of_components)

    def held(self, units: AxisUnits) -> Held:
        """The positions that an array with these units holds."""
        return held_of(units, self.kept, self.components)

    def relaid(self, value: Small, units: AxisUnits) -> Array:
        """The array of a value, with the positions that other units keep."""
        return relaid(value.array, self.held(value.units), self.held(units))

    def run(
        self, program: Called, inputs: Sequence[Small], scope: NameStacks = ()
    ) -> list[Small]:
        """The results of a program on smaller inputs.

        Args:
          program: the jaxpr and its constants.
          inputs: what its inputs are.
          scope: name stacks down to that of the equation that calls it.
        """
        known: dict[Any, Small] = dict(zip(program.jaxpr.invars, inputs, strict=True))
        for var, const in zip(program.jaxpr.constvars, program.consts, strict=True):
            known[var] = Small(const, self.labelling.constant(var.aval))

        def read(atom: Any) -> Small:
            if isinstance(atom, core.Literal):
                units = self.labelling.literal(atom.aval, atom.val)
                return Small(typed(atom), units)
            return known[atom]

        for eqn in program.jaxpr.eqns:
            operands = [read(atom) for atom in eqn.invars]
            with jax.named_scope(str(eqn.source_info.name_stack)):
                results = self._equation(eqn, operands, scope)
            known.update(zip(eqn.outvars, results, strict=True))
        return [read(atom) for atom in program.jaxpr.outvars]

    def _equation(
        self, eqn: core.JaxprEqn, operands: Sequence[Small], scope: NameStacks
    ) -> list[Small]:
        units = results_of(eqn, [x.units for x in operands], self.labelling, scope)
        if all(mask.all() for x in operands for mask in self.held(x.units)):
            arrays = bind(eqn, [x.array for x in operands])
            pairs = zip(arrays, units, strict=True)
            return [Small(operations.cut(a, self.held(u)), u) for a, u in pairs]
        name = eqn.primitive.name
        have = [self.held(x.units) for x in operands]
        want = [self.held(x) for x in units]
        if is_zero(name, have, want):
            arrays = zeros(eqn, want)
        elif name in smaller_calls.CALLS:
            inner = (*scope, eqn.source_info.name_stack)
            arrays = smaller_calls.CALLS[name](self, eqn, operands, units, inner)
        else:
            arrays = operations.replayed(eqn, [x.array for x in operands], have, want)
        return [Small(a, u) for a, u in zip(arrays, units, strict=True)]

    def element(self, units: AxisUnits, scan: core.JaxprEqn) -> AxisUnits:
        """The units of what a scan takes off."""
        return self.labelling.element(units, scan)

    def run_derived(self, program: Called, inputs: Sequence[Small]) -> list[Array]:
        """The results of a program that has been derived from a part of this one.

        Args:
          program: a program of its own, with relations of its own.
          inputs: values of this one, whose units are made components for it.
        """
        units = [self._resolved(value.units) for value in inputs]
        split = self.labelling.relations.split
        replay = Replay.of(program, units, self.kept, split=split)
        own = [Small(x.array, u) for x, u in zip(inputs, units, strict=True)]
        return [value.array for value in replay.run(program, own)]

    def _resolved(self, units: AxisUnits) -> AxisUnits:
        of = self.components.of
        blocks = (replace(block, units=of(block.units)) for block in units.blocks)
        return replace(units, blocks=tuple(blocks))


def _torn(labelling: Labelling, components: Components, kept: Bools) -> str:
    """Why what is removed cannot be removed in this program."""
    relations = labelling.relations
    for reason, units in relations.fixed.items():
        if any((~kept[components.numbers[u]]).any() for u in units):
            return f"channels to remove are fixed with these arguments: {reason}"
    return (
        "channels to remove are tied to others that stay with these arguments: find "
        "the groups with arguments of this kind"
    )
