"""The l1 norm and soft thresholding."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import (
    check_non_negative,
    check_real,
    magnitude,
    upcast,
)
from dst_jax.typing import Axis, Scalar

__all__ = ["l1", "prox_l1"]


def l1(x: Float[Array, "..."], *, axis: Axis = None) -> Float[Array, "..."]:
    """The sum of absolute values.

        R(x) = sum_i |x_i|

    The gradient is `sign(x)`, 0 at 0.

    Args:
      x: array of any shape; half precision accumulates in float32.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Reference:
      Georgiadis 2019 (arXiv 1812.04056), on activation maps.

    >>> float(l1(jnp.array([1.0, -2.0, 0.0])))
    3.0
    """
    return magnitude(upcast(x)).sum(axis)


def prox_l1(y: Float[Array, "*shape"], strength: Scalar) -> Float[Array, "*shape"]:
    """Soft thresholding, the proximal map of `strength * l1`.

        argmin_x (x - y)^2 / 2 + strength |x| = sign(y) max(|y| - strength, 0)

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative or not finite.

    >>> prox_l1(jnp.array([3.0, -0.5]), 1.0).tolist()
    [2.0, -0.0]
    """
    check_real("y", y)
    check_non_negative("strength", strength)
    shrunk = jnp.maximum(jnp.abs(y) - strength, 0)
    return (jnp.sign(y) * shrunk).astype(y.dtype)
