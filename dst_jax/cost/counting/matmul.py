"""Counts of `dot_general`: batch axes are groups, contracted axes are channels."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Num

from dst_jax.cost.counting.factors import Factors, exact_dtype, nonzeros

__all__ = ["dot_factors"]


def dot_factors(lhs: Array, rhs: Array, out: Any, params: dict[str, Any]) -> Factors:
    """The factors of a matrix product with any batch and contracted axes.

    Args:
      lhs, rhs: operands.
      out: shape and dtype of the output.
      params: parameters of the equation; `dimension_numbers` as in
        `jax.lax.dot_general`.

    Returns:
      Factors with one tap.

    >>> import jax.numpy as jnp
    >>> x, w = jnp.ones((4, 2)), jnp.eye(2, 3)
    >>> (eqn,) = jax.make_jaxpr(jnp.dot)(x, w).eqns
    >>> factors = dot_factors(x, w, eqn.outvars[0].aval, eqn.params)
    >>> factors.dense, factors.lhs.tolist(), factors.rhs.tolist()
    (24, [[[4, 4]]], [[[1, 1]]])
    """
    contracting, batching = params["dimension_numbers"]
    contracted = math.prod(lhs.shape[i] for i in contracting[0])
    rows = _free_size(lhs, batching[0], contracting[0])
    return Factors(
        lhs=_counts(lhs, batching[0], contracting[0], dtype=exact_dtype(rows)),
        rhs=_counts(rhs, batching[1], contracting[1], dtype=jnp.uint32),
        lhs_full=(rows,),
        rhs_full=_free_size(rhs, batching[1], contracting[1]),
        dense=math.prod(out.shape) * contracted,
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
