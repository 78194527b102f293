"""Counts of products whose operands meet by group sizes or stored indices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array, UInt32

from dst_jax.cost.counting.linear_sums import LinearSums
from dst_jax.cost.counting.op_counts import OpCounts, by_side
from dst_jax.cost.counting.ragged import ragged_sums
from dst_jax.cost.counting.sparse_formats import SPARSE_SUMS
from dst_jax.jaxprs.exact_integers import Count, sum_products
from dst_jax.jaxprs.product_operands import sides
from dst_jax.jaxprs.values import Value, arrays_of

__all__ = ["SUMS", "summed_counts"]

SUMS: dict[str, Callable[[core.JaxprEqn, Sequence[Any]], LinearSums]] = {
    "ragged_dot_general": ragged_sums,
    **SPARSE_SUMS,
}
"""By name of a product, what its operands are summed to."""

LARGEST = 2**32 - 1


def summed_counts(eqn: core.JaxprEqn, args: Sequence[Value]) -> OpCounts:
    """The counts of a product in `SUMS`.

    Products in a group of rows, or with a stored entry, are `valid`; `dense` has those
    of arrays without groups that are cut off, stored in full.

    Args:
      eqn: the product.
      args: its operands.

    Raises:
      ValueError: an operand has 2^32 elements or more.

    >>> import jax
    >>> from dst_jax.jaxprs.operand_roles import Role
    >>> x, w, sizes = jnp.eye(4, 2), jnp.ones((2, 2, 3)), jnp.array([1, 2])
    >>> (eqn,) = jax.make_jaxpr(jax.lax.ragged_dot)(x, w, sizes).eqns
    >>> roles = (Role.DATA, Role.WEIGHT, Role.DATA)
    >>> args = [Value(*pair) for pair in zip((x, w, sizes), roles)]
    >>> counts = summed_counts(eqn, args)
    >>> counts.dense, counts.valid, counts.effectual
    (Count(24), Count(18), Count(6))
    """
    lhs, rhs = sides(eqn, args)
    sums = SUMS[eqn.primitive.name](eqn, arrays_of(args))
    if max(sums.most) > LARGEST:
        raise ValueError(
            "cost.count adds at most 2^32 - 1 elements of an operand, got "
            f"{max(sums.most)}: count smaller batches"
        )
    left, all_left = (sums.lhs(x) for x in _indicators(lhs.array))
    right, all_right = (sums.rhs(x) for x in _indicators(rhs.array))
    limbs = sum_products(
        jnp.stack([left, left, all_left, all_left]),
        jnp.stack([right, all_right, right, all_right]),
        max_a=sums.most[0],
        max_b=sums.most[1],
    )
    effectual, by_lhs, by_rhs, valid = (Count(row) for row in limbs)
    dense = Count.of(sums.dense)
    return by_side(dense, valid, by_lhs, by_rhs, effectual, roles=(lhs.role, rhs.role))


def _indicators(x: Any) -> tuple[UInt32[Array, "..."], UInt32[Array, "..."]]:
    """Ones where an operand is not zero, and ones."""
    x = jnp.asarray(x)
    return (x != 0).astype(jnp.uint32), jnp.ones(x.shape, jnp.uint32)
