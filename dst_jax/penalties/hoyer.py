"""The square Hoyer penalty."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_positive, magnitude, upcast
from dst_jax.typing import Axis

__all__ = ["hoyer_square"]


def hoyer_square(
    x: Float[Array, "..."], *, axis: Axis = None, eps: jax.typing.ArrayLike = 1e-10
) -> Float[Array, "..."]:
    """The squared ratio of l1 and l2 norm, a scale-invariant count of nonzeros.

        R(x) = (sum_i |x_i|)^2 / (sum_i x_i^2 + eps)

    Between 1 and n for `n` entries well above `sqrt(eps)`. Entries below
    `sum x^2 / sum |x|` are pushed towards 0, entries above it are pushed up.

    Args:
      x: array of any shape; half precision accumulates in float32.
      axis: axes to reduce; None reduces everything to a scalar.
      eps: smooths the penalty where all of `x` is near 0, may be traced. Gradients
        stay below about `n / sqrt(eps)`.

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
    check_positive("eps", eps)
    x = magnitude(upcast(x))
    # The ratio does not depend on the scale, so neither does its gradient; without
    # the scale, squares of large entries would overflow.
    scale = jax.lax.stop_gradient(jnp.maximum(x.max(axis, keepdims=True), 1))
    x = x / scale
    l1_norm = x.sum(axis, keepdims=True)
    square_l2_norm = jnp.square(x).sum(axis, keepdims=True)
    ratio = jnp.square(l1_norm) / (square_l2_norm + eps / jnp.square(scale))
    return ratio.squeeze(axis)
