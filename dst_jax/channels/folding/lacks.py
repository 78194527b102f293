"""What a value lacks once units are removed.

A *lack* is the original value minus the new one, at the positions that are kept. It
begins where an operation sums over removed units that are constants, is carried along
by linear operations, and ends where a parameter is added: the parameter takes it over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jax.extend import core

from dst_jax.channels.axis_units import AxisUnits
from dst_jax.channels.folding.partial_values import Numbers, PartialValue
from dst_jax.channels.reasons import Reason
from dst_jax.jaxprs.weight_labels import shape_of

__all__ = [
    "Lack",
    "Sources",
    "Traced",
    "TracedStep",
    "lacking",
    "multiplied",
    "sources_of",
]

Sources = frozenset[int]
"""Components of units that are removed."""


class Lack(NamedTuple):
    """What a value lacks at positions that are kept.

    Attributes:
      number: the original value minus the new one; 1 long where nothing differs.
      sources: components of the units that it stems from.
    """

    number: Numbers
    sources: Sources


@dataclass(frozen=True)
class Traced:
    """What is known of a value in the original, and what it lacks in the new program.

    Attributes:
      units: its units.
      value: what is known of it.
      lack: what it lacks; None for nothing.
      leaf: number of the input that it is, repeated and reshaped; None if it is none.
    """

    units: AxisUnits
    value: PartialValue
    lack: Lack | None = None
    leaf: int | None = None


class TracedStep(NamedTuple):
    """An operation, its path and its operands."""

    eqn: core.JaxprEqn
    path: str
    operands: Sequence[Traced]

    @property
    def name(self) -> str:
        """The name of the primitive.

        >>> import jax, jax.numpy as jnp
        >>> eqn = jax.make_jaxpr(lambda x: x + 1)(jnp.ones(2)).eqns[0]
        >>> TracedStep(eqn, "", []).name
        'add'
        """
        return self.eqn.primitive.name

    @property
    def given(self) -> list[tuple[int, ...]]:
        """The shapes of the operands.

        >>> import jax, jax.numpy as jnp
        >>> eqn = jax.make_jaxpr(lambda x: x + 1)(jnp.ones(2)).eqns[0]
        >>> TracedStep(eqn, "", []).given
        [(2,), ()]
        """
        return [shape_of(atom) for atom in self.eqn.invars]

    def reason(self, why: str) -> Reason:
        """Why the operation refuses units.

        >>> import jax, jax.numpy as jnp
        >>> eqn = jax.make_jaxpr(lambda x: x + 1)(jnp.ones(2)).eqns[0]
        >>> print(TracedStep(eqn, "fc", []).reason("it is read twice"))
        it is read twice (add in fc)
        """
        return Reason(self.name, self.path, why)


def sources_of(lacks: Sequence[Lack | None]) -> Sources:
    """The units that any of these stems from.

    >>> sources_of([None])
    frozenset()
    """
    return frozenset().union(*(own.sources for own in lacks if own is not None))


def lacking(step: TracedStep) -> list[Numbers]:
    """What every operand of an elementwise operation lacks, as arrays of its rank.

    >>> import jax, jax.numpy as jnp
    >>> eqn = jax.make_jaxpr(lambda x: x + 1)(jnp.ones(2)).eqns[0]
    >>> lacking(TracedStep(eqn, "", []))
    []
    """
    one = (1,) * len(shape_of(step.eqn.outvars[0]))
    lacks = [x.lack for x in step.operands]
    numbers = [np.zeros(()) if own is None else own.number for own in lacks]
    return [x.reshape(one) if x.ndim == 0 else x for x in numbers]


def multiplied(step: TracedStep) -> Lack | None:
    """What a product with a known number lacks; None for other operations.

    >>> import jax, jax.numpy as jnp
    >>> eqn = jax.make_jaxpr(jnp.exp)(jnp.ones(2)).eqns[0]
    >>> multiplied(TracedStep(eqn, "", []))
    """
    numbers = lacking(step)
    sources = sources_of([x.lack for x in step.operands])
    at = [i for i, x in enumerate(step.operands) if x.lack is not None]
    if step.name == "neg":
        return Lack(-numbers[0], sources)
    if step.name not in ("mul", "div") or len(at) != 1:
        return None
    other = step.operands[1 - at[0]].value
    if not other.whole or (step.name == "div" and at == [1]):
        return None
    factor = other.number.astype(np.float64)
    factor = factor if step.name == "mul" else 1 / factor
    return Lack(numbers[at[0]] * factor, sources)
