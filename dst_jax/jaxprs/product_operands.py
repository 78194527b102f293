"""The primitives that multiply matrices in sight, and which operands they multiply."""

from collections.abc import Sequence
from typing import NamedTuple

from jax.extend import core

from dst_jax.jaxprs.calls import has_rule
from dst_jax.jaxprs.operand_roles import joined
from dst_jax.jaxprs.values import Value

__all__ = [
    "PRODUCTS",
    "SPARSE",
    "DotNumbers",
    "Sides",
    "dot_numbers",
    "is_product",
    "sides",
]

BothAxes = tuple[tuple[int, ...], tuple[int, ...]]
DotNumbers = tuple[BothAxes, BothAxes]
"""Contracted and batch axes, each of the left and of the right operand."""


class Sides(NamedTuple):
    """The positions of the operands of each side, that of its values first."""

    lhs: tuple[int, ...]
    rhs: tuple[int, ...]


SPARSE = {
    "bcoo_dot_general": Sides((0, 1), (2,)),
    "bcoo_dot_general_sampled": Sides((0,), (1,)),
    "bcoo_spdot_general": Sides((0, 1), (2, 3)),
    "bcsr_dot_general": Sides((0, 1, 2), (3,)),
}
"""Products of sparse matrices of JAX, or at positions of one."""

PRODUCTS = {
    "conv_general_dilated": Sides((0,), (1,)),
    "dot_general": Sides((0,), (1,)),
    "ragged_dot_general": Sides((0,), (1,)),
    "scaled_dot": Sides((0, 2), (1, 3)),
    "scaled_matmul": Sides((0, 2), (1, 3)),
    "scaled_matmul_wrapper": Sides((0, 2), (1, 3)),
    **SPARSE,
}
"""Primitives that a visitor is shown."""

SCALED: DotNumbers = (((2,), (2,)), ((0,), (0,)))
"""Axes of `scaled_matmul`: (batch, rows, contracted) of both operands."""


def is_product(eqn: core.JaxprEqn) -> bool:
    """Whether an equation is shown to visitors: a product without a rule of its own.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: x @ x + x)(jax.numpy.eye(2))
    >>> [is_product(eqn) for eqn in program.eqns]
    [True, False]
    """
    return eqn.primitive.name in PRODUCTS and not has_rule(eqn.primitive)


def sides(eqn: core.JaxprEqn, args: Sequence[Value]) -> tuple[Value, Value]:
    """The values that a product multiplies; indices and scales share in their roles.

    Args:
      eqn: a product.
      args: its operands.

    >>> import jax
    >>> from dst_jax.jaxprs.operand_roles import Role
    >>> program = jax.make_jaxpr(lambda x, w: x @ w)(*[jax.numpy.eye(2)] * 2)
    >>> args = [Value(1.0, Role.DATA), Value(2.0, Role.WEIGHT)]
    >>> sides(program.eqns[0], args)[1]
    Value(array=2.0, role=<Role.WEIGHT: 1>)
    """
    left, right = (
        Value(args[side[0]].array, joined(args[i].role for i in side))
        for side in PRODUCTS[eqn.primitive.name]
    )
    return left, right


def dot_numbers(eqn: core.JaxprEqn) -> DotNumbers:
    """The contracted and batch axes of a matrix product.

    Args:
      eqn: any product but a convolution.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x, w: x @ w)(*[jax.numpy.eye(2)] * 2)
    >>> dot_numbers(program.eqns[0])
    (((1,), (0,)), ((), ()))
    """
    if eqn.primitive.name == "ragged_dot_general":
        # Under vmap JAX gives some of them as NumPy's.
        found = eqn.params["ragged_dot_dimension_numbers"].dot_dimension_numbers
        (lhs, rhs), (lhs_batch, rhs_batch) = found
        contracted = tuple(map(int, lhs)), tuple(map(int, rhs))
        return contracted, (tuple(map(int, lhs_batch)), tuple(map(int, rhs_batch)))
    return eqn.params.get("dimension_numbers", SCALED)
