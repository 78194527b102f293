"""The k largest entries per example, in the forward or only in the backward pass."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dst_jax import trees

__all__ = ["keep_top_k", "sparsify_saved"]


def keep_top_k(
    x: Float[Array, "batch *map"], k: int | Int[Array, ""]
) -> Float[Array, "batch *map"]:
    """Keeps the `k` entries of largest magnitude of every example, zeroes the others.

    Each example is ranked alone, so the result does not depend on the batch. A tie goes
    to the first entry: there are never more than `k` nonzeros. NaN stays NaN. The
    gradient is 1 where an entry is kept and 0 elsewhere.

    Args:
      x: maps, batch first.
      k: number of entries to keep, clipped to the map's size; may be traced.

    Returns:
      An array like `x`.

    Reference:
      Li et al. 2023 (The lazy neuron phenomenon, arXiv 2210.06313).

    >>> keep_top_k(jnp.array([[1.0, -3.0, 2.0], [0.1, 0.2, 0.5]]), 1).tolist()
    [[0.0, -3.0, 0.0], [0.0, 0.0, 0.5]]
    """
    scores = jax.lax.stop_gradient(jnp.abs(x))
    kept = jax.vmap(lambda row: trees.top_k(row, k))(scores)
    return jnp.where(kept | jnp.isnan(x), x, 0)


def sparsify_saved(
    operation: Callable[..., Array], sparsify: Callable[[Array], Array]
) -> Callable[..., Array]:
    """An operation whose weight gradient is computed from a sparse copy of `x`.

        forward:   y = operation(x, w)
        backward:  dw = transpose of operation at sparsify(x),  dx unchanged

    The forward pass stays dense. Only `sparsify(x)` is saved for the backward pass:
    an array with zeros, which JAX does not compress.

    Args:
      operation: function `(x, w, ...)`, linear in `x` and in `w`, such as
        `jax.lax.dot_general` or `jax.lax.conv_general_dilated`; Flax takes the result
        as `dot_general=` or `conv_general_dilated=` of a layer.
      sparsify: function from `x` to a sparse array of the same shape and dtype, such as
        `partial(keep_top_k, k=100)`. Values that it closes over must not be traced by a
        transformation outside the call.

    Returns:
      A function with the arguments of `operation`.

    Reference:
      SWAT (Raihan & Aamodt 2020, arXiv 2007.15353). It ranks the whole batch at once
      and keeps the threshold for ten steps; its sparse forward weights are a pruning
      mask.

    >>> dot = sparsify_saved(jnp.dot, lambda x: jnp.where(x > 1, x, 0))
    >>> jax.grad(dot, argnums=1)(jnp.array([3.0, 0.5]), jnp.ones(2)).tolist()
    [3.0, 0.0]
    """

    def sparsified(x: Array, w: Array, *args: Any, **kwargs: Any) -> Array:
        def dense(x: Array, w: Array) -> Array:
            return operation(x, w, *args, **kwargs)

        def forward(x: Array, w: Array) -> tuple[Array, tuple[Array, Array]]:
            return dense(x, w), (sparsify(x), w)

        def backward(saved: tuple[Array, Array], y_bar: Array) -> tuple[Array, Array]:
            return jax.vjp(dense, *saved)[1](y_bar)

        wrapped = jax.custom_vjp(dense)
        wrapped.defvjp(forward, backward)
        return wrapped(x, w)

    return sparsified
