"""Counts of matrix products: batch axes are groups, contracted axes are channels."""

import math

from jaxtyping import Array, UInt32

from dst_jax.cost.counting.factors import Factors, nonzeros
from dst_jax.jaxprs.product_operands import DotNumbers

__all__ = ["dot_factors"]


def dot_factors(lhs: Array, rhs: Array, numbers: DotNumbers) -> Factors:
    """The factors of a matrix product with any batch and contracted axes.

    Args:
      lhs, rhs: operands.
      numbers: contracted and batch axes, as in `jax.lax.dot_general`.

    Returns:
      Factors with one tap.

    >>> import jax.numpy as jnp
    >>> x, w = jnp.ones((4, 2)), jnp.eye(2, 3)
    >>> factors = dot_factors(x, w, (((1,), (0,)), ((), ())))
    >>> factors.dense, factors.lhs.tolist(), factors.rhs.tolist()
    (24, [[[4, 4]]], [[[1, 1]]])
    """
    contracting, batching = numbers
    left = _counts(lhs, batching[0], contracting[0])
    right = _counts(rhs, batching[1], contracting[1])
    columns = _free_size(rhs, batching[1], contracting[1])
    return Factors(
        lhs=left,
        rhs=right,
        lhs_full=(_free_size(lhs, batching[0], contracting[0]),),
        rhs_full=columns,
        dense=math.prod(lhs.shape) * columns,
    )


def _counts(
    x: Array, batch: tuple[int, ...], contracting: tuple[int, ...]
) -> UInt32[Array, "group 1 channel"]:
    kept = (*batch, *contracting)
    counts = nonzeros(x, tuple(i for i in range(x.ndim) if i not in kept))
    # The sum keeps the remaining axes in their old order.
    order = sorted(kept)
    counts = counts.transpose([order.index(i) for i in kept])
    group = math.prod(x.shape[i] for i in batch)
    channel = math.prod(x.shape[i] for i in contracting)
    return counts.reshape(group, 1, channel)


def _free_size(x: Array, batch: tuple[int, ...], contracting: tuple[int, ...]) -> int:
    free = set(range(x.ndim)) - {*batch, *contracting}
    return math.prod(x.shape[i] for i in free)
