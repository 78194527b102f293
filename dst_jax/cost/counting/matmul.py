"""Counts of matrix products: batch axes are groups, contracted axes are channels."""

import functools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Num

from dst_jax.cost.counting.factors import Factors, exact_dtype, nonzeros
from dst_jax.jaxprs.product_operands import DotNumbers

__all__ = ["dot_factors"]


def dot_factors(lhs: ArrayLike, rhs: ArrayLike, numbers: DotNumbers) -> Factors:
    """The factors of a matrix product with any batch and contracted axes.

    Args:
      lhs, rhs: operands.
      numbers: contracted and batch axes, as in `jax.lax.dot_general`.

    Returns:
      Factors with one tap.

    >>> x, w = jnp.ones((4, 2)), jnp.eye(2, 3)
    >>> factors = dot_factors(x, w, (((1,), (0,)), ((), ())))
    >>> factors.dense, factors.lhs.tolist(), factors.rhs.tolist()
    (24, [[[4.0, 4.0]]], [[[1, 1]]])
    """
    lhs, rhs = jnp.asarray(lhs), jnp.asarray(rhs)  # literals are no arrays
    contracting, batching = numbers
    rows = _free_size(lhs, batching[0], contracting[0])
    columns = _free_size(rhs, batching[1], contracting[1])
    return Factors(
        lhs=_counts(lhs, batching[0], contracting[0], dtype=exact_dtype(rows)),
        rhs=_counts(rhs, batching[1], contracting[1], dtype=jnp.uint32),
        lhs_full=(rows,),
        rhs_full=columns,
        dense=math.prod(lhs.shape) * columns,
    )


# jit, so that operands of one shape are traced once.
@functools.partial(jax.jit, static_argnums=(1, 2), static_argnames=("dtype",))
def _counts(
    x: Array,
    batch: tuple[int, ...],
    contracting: tuple[int, ...],
    *,
    dtype: DTypeLike,
) -> Num[Array, "1 group channel"]:
    kept = (*batch, *contracting)
    counts = nonzeros(x, tuple(i for i in range(x.ndim) if i not in kept), dtype)
    # The sum keeps the remaining axes in their old order.
    order = sorted(kept)
    counts = counts.transpose([order.index(i) for i in kept])
    group = math.prod(x.shape[i] for i in batch)
    channel = math.prod(x.shape[i] for i in contracting)
    return counts.reshape(1, group, channel)


def _free_size(x: Array, batch: tuple[int, ...], contracting: tuple[int, ...]) -> int:
    free = set(range(x.ndim)) - {*batch, *contracting}
    return math.prod(x.shape[i] for i in free)
