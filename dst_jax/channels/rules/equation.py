"""An equation as the rules see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jax.extend import core

from dst_jax.channels.axis_units import (
    FIXED,
    FREE,
    AxisUnits,
    Block,
    Ints,
    fixed_block,
    made,
    new,
)
from dst_jax.channels.reasons import Reason
from dst_jax.channels.relations import Relations
from dst_jax.jaxprs.weight_labels import shape_of

__all__ = ["Equation", "Product"]


class Product(NamedTuple):
    """A matrix product or a convolution.

    Attributes:
      path: path of the module.
      dense: number of its multiplications, those with padding included.
      axes: units of each of its axes that may lose positions: batch or feature group,
        contracted, free.
      times: how often it is executed; None if that depends on data.
    """

    path: str
    dense: int
    axes: tuple[Ints, ...]
    times: int | None = 1


@dataclass(frozen=True)
class Equation:
    """An equation, its path, and where relations between units are collected.

    Attributes:
      name: name of the primitive.
      path: path of the module.
      relations: where what it says of units goes.
      params: parameters of the primitive.
      given: shapes of the operands.
      shapes: shapes of the results.
      products: where a product is noted.
    """

    name: str
    path: str
    relations: Relations
    params: Mapping[str, Any] = field(default_factory=dict)
    given: Sequence[tuple[int, ...]] = ()
    shapes: Sequence[tuple[int, ...]] = ()
    products: list[Product] = field(default_factory=list)

    @classmethod
    def of(cls, eqn: core.JaxprEqn, path: str, relations: Relations) -> "Equation":
        """What the rules see of an equation of a jaxpr.

        >>> import jax
        >>> program = jax.make_jaxpr(lambda x: x.sum())(np.ones((2, 3)))
        >>> Equation.of(program.eqns[0], "", Relations()).given
        [(2, 3)]
        """
        return cls(
            eqn.primitive.name,
            path,
            relations,
            eqn.params,
            [shape_of(atom) for atom in eqn.invars],
            [shape_of(var) for var in eqn.outvars],
        )

    def reason(self, why: str) -> Reason:
        """Why the equation does something to units.

        >>> print(Equation("sort", "head", Relations()).reason("it sorts"))
        it sorts (sort in head)
        """
        return Reason(self.name, self.path, why)

    def note_product(self, dense: int, axes: Sequence[Ints]) -> None:
        """Notes the multiplications of a product, and its axes that may shrink.

        >>> equation = Equation("dot_general", "fc", Relations())
        >>> equation.note_product(6, [np.array([1, 2]), np.array([0])])
        >>> equation.products[0].dense, len(equation.products[0].axes)
        (6, 1)
        """
        live = tuple(units.ravel() for units in axes if (units > 0).any())
        self.products.append(Product(self.path, dense, live))

    def fix(self, blocks: Sequence[Block], why: str) -> None:
        """Says that no position of blocks can be removed.

        >>> relations = Relations()
        >>> block = Block((0,), relations.fresh(2), np.ones(2, bool))
        >>> Equation("sort", "", relations).fix([block], "it sorts")
        >>> relations.components().of(block.units).tolist()
        [0, 0]
        """
        for block in blocks:
            self.relations.fix(block.units, self.reason(why))

    def fixed(self, operands: Sequence[AxisUnits], why: str) -> list[AxisUnits]:
        """The results if nothing can be removed along any axis of the operands.

        >>> equation = Equation("lu", "", Relations(), shapes=[(2, 2)])
        >>> equation.fixed([new((2, 2), FREE)], "it mixes")[0].live
        False
        """
        for operand in operands:
            self.fix(operand.blocks, why)
        return [new(shape, FIXED) for shape in self.shapes]

    def free(self) -> list[AxisUnits]:
        """The results if they go along with anything.

        >>> equation = Equation("random_bits", "", Relations(), shapes=[(2,)])
        >>> equation.free()[0].blocks[0].free
        True
        """
        return [new(shape, FREE) for shape in self.shapes]

    def whole(self, value: AxisUnits, axes: Sequence[int], why: str) -> AxisUnits:
        """The value with these axes kept whole; axes that share a block stay live.

        A joint block is made the same along the axis; the only axis of a block is
        fixed.

        >>> relations = Relations()
        >>> block = Block((0, 1), relations.fresh(2, 2), np.ones((2, 2), bool))
        >>> kept = Equation("conv", "", relations).whole(made([block]), [0], "window")
        >>> relations.components().of(kept.block(1).units).tolist()
        [1, 2]
        """
        blocks: list[Block] = []
        for block in value.blocks:
            own = [axis for axis in block.axes if axis in axes]
            if own and len(own) == len(block.axes):
                self.fix([block], why)
                blocks += _fixed(block)
            else:
                blocks += self._uniform(block, own) if own else [block]
        return made(blocks, constant=value.constant, leaf=value.leaf)

    def _uniform(self, block: Block, axes: Sequence[int]) -> list[Block]:
        """A joint block made the same along some of its axes, which are fixed."""
        rest = [axis for axis in block.axes if axis not in axes]
        block = block.ordered([*axes, *rest])
        first = block.units[(0,) * len(axes)]
        self.relations.unite(first, block.units)
        zero = np.asarray(block.zero.all(axis=tuple(range(len(axes)))))
        sizes = zip(axes, block.units.shape, strict=False)
        fixed = [fixed_block(axis, size) for axis, size in sizes]
        return [*fixed, Block(tuple(rest), first, zero)]


def _fixed(block: Block) -> list[Block]:
    sizes = zip(block.axes, block.units.shape, strict=True)
    return [fixed_block(axis, size) for axis, size in sizes]
