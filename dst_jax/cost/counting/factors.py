"""Counts of nonzero operands, in the form that convolutions and products share.

Both multiply every pair of an activation and a weight that meet in a group g (a
feature group, a batch index), at a tap t (a position in the window) and in a channel
c (a contracted index). The nonzero activations do not depend on the output channel,
the nonzero weights do not depend on the position. So the sum over all pairs is a
product of two sums:

    effectual = sum_gtc  A[g, t, c] * W[g, t, c]

with A the nonzero activations and W the nonzero weights that meet there. An operand
without zeros gives the other counts.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jaxtyping import Array, UInt32

from dst_jax.cost.counting.op_counts import OpCounts, by_side
from dst_jax.jaxprs.exact_integers import Count, sum_products
from dst_jax.jaxprs.operand_roles import Role

__all__ = ["Factors", "nonzeros", "op_counts"]

LARGEST = 2**32 - 1


class Factors(NamedTuple):
    """Numbers of nonzero elements of both operands that meet, and their bounds.

    Attributes:
      lhs: nonzero elements of the left operand in (group, tap, channel).
      rhs: nonzero elements of the right operand in (group, tap, channel).
      lhs_full: value of `lhs` at each tap if the left operand had no zeros.
      rhs_full: value of `rhs` if the right operand had no zeros.
      dense: number of all products, those with padding included.
    """

    lhs: UInt32[Array, "group tap channel"]
    rhs: UInt32[Array, "group tap channel"]
    lhs_full: tuple[int, ...]
    rhs_full: int
    dense: int


def nonzeros(x: Array, axis: int | tuple[int, ...]) -> UInt32[Array, "..."]:
    """The number of nonzero elements along `axis`. NaN is nonzero, -0.0 is zero.

    >>> nonzeros(jnp.array([[0.0, 2.0], [0.0, 3.0]]), 0).tolist()
    [0, 2]
    """
    axes = (axis,) if isinstance(axis, int) else axis
    most = min(math.prod(x.shape[i] for i in axes), LARGEST)
    # XLA:CPU always vectorises an integer sum, the narrower the faster, but not a float
    # sum. The barrier keeps XLA from fusing the sum into its uses: a pass for each tap.
    counts = jnp.sum(x != 0, axes, dtype=np.min_scalar_type(most))
    return _gathered(jax.lax.optimization_barrier(counts)).astype(jnp.uint32)


def op_counts(factors: Factors, lhs: Role, rhs: Role) -> OpCounts:
    """The counts of one operation.

    Args:
      factors: numbers of elements that meet.
      lhs, rhs: roles of the operands. If neither is the activation (attention, a
        product of weights), by_activation is `effectual` and by_weight `valid`. Those
        of a product of two weights are `WeightCounts`.

    Raises:
      ValueError: an operand is too large to count in uint32.

    >>> one = jnp.ones((1, 1, 2), jnp.uint32)
    >>> factors = Factors(3 * one, one, lhs_full=(4,), rhs_full=2, dense=16)
    >>> counts = op_counts(factors, Role.DATA, Role.WEIGHT)
    >>> counts.by_activation, counts.by_weight, counts.effectual
    (Count(12), Count(8), Count(6))
    """
    most = max(factors.lhs_full, default=0)
    if max(most, factors.rhs_full) > LARGEST:
        raise ValueError(
            "cost.count adds at most 2^32 - 1 elements per tap and channel, got "
            f"{max(most, factors.rhs_full)}: count smaller batches"
        )
    shape = factors.lhs.shape
    lhs_full = jnp.array(factors.lhs_full, jnp.uint32)[None, :, None]
    lhs_full = jnp.broadcast_to(lhs_full, shape)
    rhs_full = jnp.full(shape, factors.rhs_full, jnp.uint32)
    limbs = sum_products(
        _rows(factors.lhs, factors.lhs, lhs_full),
        _rows(factors.rhs, rhs_full, factors.rhs),
        max_a=most,
        max_b=factors.rhs_full,
    )
    effectual, by_lhs, by_rhs = (Count(row) for row in limbs)
    valid = Count.of(shape[0] * shape[2] * sum(factors.lhs_full) * factors.rhs_full)
    dense = Count.of(factors.dense)
    return by_side(dense, valid, by_lhs, by_rhs, effectual, roles=(lhs, rhs))


def _gathered(x: Array) -> Array:
    """The array, replicated if axes of the mesh are explicit.

    With explicit axes, JAX asks for the sharding of every reshaped array. These sums
    are small.
    """
    spec: Any = jax.typeof(x).sharding.spec
    return jax.sharding.reshard(x, PartitionSpec()) if any(spec) else x


def _rows(*arrays: UInt32[Array, "..."]) -> UInt32[Array, "rows n"]:
    return jnp.stack([jnp.ravel(array) for array in arrays])
