"""Hoyer's ratio of l1 and l2 norm, plain and squared."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import (
    axes_of,
    check_positive,
    magnitude,
    quotient,
    scale_of,
    upcast,
)
from dst_jax.typing import Axis, Scalar

__all__ = ["hoyer", "hoyer_square", "hoyer_square_batch"]


def hoyer_square(
    x: Float[Array, "..."], *, axis: Axis = None, eps: Scalar = 1e-10
) -> Float[Array, "..."]:
    """The squared ratio of l1 and l2 norm, a scale-invariant count of nonzeros.

        R(x) = (sum_i |x_i|)^2 / (sum_i x_i^2 + eps)

    Between 1 and n for `n` entries well above `sqrt(eps)`. Entries below
    `sum x^2 / sum |x|` are pushed towards 0, entries above it are pushed up.

    Args:
      x: array of any shape; half precision accumulates in float32.
      axis: axes to reduce; None reduces everything to a scalar.
      eps: smoothing > 0 where all of `x` is near 0, may be traced. Gradients stay
        below about `n / sqrt(eps)`.

    Returns:
      `x` reduced over `axis`, float32 or wider. 0 where all entries are 0.

    Raises:
      ValueError: `eps` is not a finite number > 0.

    Reference:
      Yang, Wen, Li 2020 (DeepHoyer, arXiv 1908.09979) for weights;
      Kurtz et al. 2020 (PMLR 119:5533-5543) for activation maps.

    >>> float(hoyer_square(jnp.array([1.0, 1.0, 0.0, 0.0])))
    2.0
    """
    l1_norm, square_l2_norm = _scaled_norms(x, axis, eps)
    return (l1_norm * quotient(l1_norm, square_l2_norm)).squeeze(axis)


def hoyer(
    x: Float[Array, "..."], *, axis: Axis = None, eps: Scalar = 1e-10
) -> Float[Array, "..."]:
    """The ratio of l1 and l2 norm, the square root of `hoyer_square`.

        R(x) = sum_i |x_i| / sqrt(sum_i x_i^2 + eps)

    Between 1 and sqrt(n) for `n` entries well above `sqrt(eps)`.

    Args:
      x: array of any shape; half precision accumulates in float32.
      axis: axes to reduce; None reduces everything to a scalar.
      eps: smoothing > 0 where all of `x` is near 0, may be traced; slopes there are
        up to `1 / sqrt(eps)`.

    Returns:
      `x` reduced over `axis`, float32 or wider. 0 where all entries are 0.

    Raises:
      ValueError: `eps` is not a finite number > 0.

    Reference:
      Hoyer 2004 (JMLR 5, 1457-1469).

    >>> float(hoyer(jnp.array([1.0, 1.0, -1.0, 1.0])))
    2.0
    """
    l1_norm, square_l2_norm = _scaled_norms(x, axis, eps)
    return quotient(l1_norm, jnp.sqrt(square_l2_norm)).squeeze(axis)


def hoyer_square_batch(
    x: Float[Array, "..."], *, axis: Axis = None, eps: Scalar = 1e-10
) -> Float[Array, "..."]:
    """`hoyer_square` of the whole array, divided among the entries not reduced.

        R(x)_j = hoyer_square(x) / m   for each of the m entries outside `axis`

    Averaged over a batch by `total`, this is the square Hoyer of the batch as one long
    vector, divided by its size. It is not the mean of the examples' own values:
    examples of small norm have larger gradients, and the value depends on the batch
    size.

    Args:
      x: array of any shape; half precision accumulates in float32.
      axis: axes to reduce; None reduces everything to a scalar.
      eps: smoothing > 0, as in `hoyer_square`.

    Returns:
      Equal values in the shape of `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `eps` is not a finite number > 0.

    Reference:
      neuralmagic/sparseml, `modifier_as.py` (commit 1c04a01), computes it so.

    >>> hoyer_square_batch(jnp.array([[1.0, 1.0], [1.0, 1.0]]), axis=1).tolist()
    [2.0, 2.0]
    """
    reduced = axes_of(x, axis)
    kept = tuple(n for i, n in enumerate(x.shape) if i not in reduced)
    return jnp.broadcast_to(hoyer_square(x, eps=eps) / math.prod(kept), kept)


def _scaled_norms(x: Array, axis: Axis, eps: Scalar) -> tuple[Array, Array]:
    """The l1 norm and the smoothed square of the l2 norm, of `x` over its scale."""
    check_positive("eps", eps)
    x = magnitude(upcast(x))
    # The ratio does not depend on the scale, so neither does its gradient; without
    # the scale, squares of large entries would overflow.
    scale = jax.lax.stop_gradient(scale_of(x, axis, least=1.0))
    x = x / scale
    square_l2_norm = jnp.square(x).sum(axis, keepdims=True)
    return x.sum(axis, keepdims=True), square_l2_norm + eps / jnp.square(scale)
