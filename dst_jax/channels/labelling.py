"""The units of every value of a jaxpr, from those of its inputs."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jax.extend import core

from dst_jax.channels.axis_units import (
    FIXED,
    FREE,
    AxisUnits,
    Block,
    fixed_block,
    made,
    new,
)
from dst_jax.channels.branches import Branches
from dst_jax.channels.relations import Relations, SplitSide
from dst_jax.channels.rules.elementwise import aligned
from dst_jax.channels.rules.equation import Equation, Product
from dst_jax.channels.rules.rule_table import apply
from dst_jax.channels.value_graph import LOOP, ValueGraph
from dst_jax.jaxprs.dataflow import Domain, NameStacks
from dst_jax.jaxprs.module_paths import path_of

__all__ = ["Labelling"]


class Labelling(Domain[AxisUnits]):
    """Follows units through a program and collects what is related.

    Args:
      first: the first unit that is not one of the inputs'.
      split: see `Relations`.

    Attributes:
      relations: what is known of units.
      products: the matrix products and convolutions, in order of execution.
      branches: which sums carry a branch alone.
      graph: which operation made every value.
    """

    def __init__(self, *, first: int = 1, split: SplitSide = "outer") -> None:
        self.relations = Relations(first=first, split=split)
        self.products: list[Product] = []
        self.branches = Branches()
        self.graph = ValueGraph()
        self._times: int | None = 1
        self._settled = True

    def tentative(self) -> "Labelling":
        """The same without recording products."""
        other = copy.copy(self)
        other._settled = False
        return other

    def inside(self, eqn: core.JaxprEqn) -> "Labelling":
        """The same for what is executed as often as a scan goes, or not always."""
        other = copy.copy(self)
        length = eqn.params.get("length")  # of a scan, and of nothing else
        times = self._times
        other._times = None if length is None or times is None else length * times
        return other

    def constant(self, aval: Any) -> AxisUnits:
        """A constant of a jaxpr is fixed."""
        return new(getattr(aval, "shape", ()), FIXED)

    def literal(self, aval: Any, value: Any) -> AxisUnits:
        """A number goes along with anything; its value is known."""
        shape = getattr(aval, "shape", ())
        number = np.asarray(value).astype(float).ravel() if _is_number(value) else None
        same = number is not None and number.size and (number == number[0]).all()
        constant = float(number[0]) if number is not None and same else None
        return new(shape, FREE if constant is not None else FIXED, constant=constant)

    def either(self, a: AxisUnits, b: AxisUnits) -> AxisUnits:
        """The same positions are united."""
        equation = Equation("cond", "", self.relations)
        blocks = []
        for units, same in aligned(equation, [a.blocks, b.blocks]):
            zero = np.logical_and.reduce([block.zero for block in same])
            blocks.append(Block(same[0].axes, units, zero))
        constant = a.constant if a.constant == b.constant else None
        return made(
            blocks,
            constant=constant,
            leaf=a.leaf if a.leaf == b.leaf else None,
            carriers=self.branches.either(a, b),
            value=self.graph.either(a, b),
        )

    def results(
        self, eqn: core.JaxprEqn, operands: Sequence[AxisUnits], scope: NameStacks
    ) -> list[AxisUnits]:
        """The rule of the primitive."""
        stack = "/".join(filter(None, map(str, scope)))
        path = "/".join(path_of(stack))
        equation = Equation.of(eqn, path, self.relations)
        results = apply(equation, operands)
        if self._settled:
            self.products += (p._replace(times=self._times) for p in equation.products)
        carriers = self.branches.of(equation, operands)
        value = self.graph.made_by(equation, operands)
        return [replace(result, carriers=carriers, value=value) for result in results]

    def element(self, fact: AxisUnits, scan: core.JaxprEqn) -> AxisUnits:
        """The axis that a scan goes along is fixed."""
        equation = Equation.of(scan, "", self.relations)
        x = equation.whole(fact, [0], "a scan goes along the axis")
        rest = [block for block in x.blocks if block.axes != (0,)]
        blocks = [b.on([axis - 1 for axis in b.axes]) for b in rest]
        return made(
            blocks,
            constant=x.constant,
            leaf=x.leaf,
            carriers=fact.carriers,
            value=LOOP,
        )

    def stacked(self, fact: AxisUnits, scan: core.JaxprEqn) -> AxisUnits:
        """As `element`."""
        length = fixed_block(0, scan.params["length"])
        moved = fact.renumbered(lambda axis: axis + 1)
        return made([length, *moved], carriers=fact.carriers, value=LOOP)

    def shaped(self, fact: AxisUnits, aval: Any) -> AxisUnits:
        """Parts that devices hold are fixed."""
        equation = Equation("shard_map", "", self.relations)
        equation.fix(fact.blocks, "it is split over devices")
        units = new(getattr(aval, "shape", ()), FIXED)
        return replace(units, carriers=fact.carriers, value=LOOP)


def _is_number(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is None or np.issubdtype(dtype, np.number) or dtype == np.bool_
