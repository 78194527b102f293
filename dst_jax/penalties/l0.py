"""The number of nonzeros and hard thresholding."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import upcast
from dst_jax.penalties._prox import signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["l0", "prox_l0"]


def l0(x: Float[Array, "..."], *, axis: Axis = None) -> Float[Array, "..."]:
    """The number of nonzero entries, for reports: its gradient is 0 everywhere.

        R(x) = sum_i 1[x_i != 0]

    Args:
      x: array of any shape.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider: exact up to 2^24 entries. A
      subnormal counts as zero on devices that flush subnormals.

    >>> float(l0(jnp.array([1.0, -3.0, 0.0])))
    2.0
    """
    x = upcast(x)
    return (x != 0).astype(x.dtype).sum(axis)


def prox_l0(y: Float[Array, "*shape"], strength: Scalar) -> Float[Array, "*shape"]:
    """Hard thresholding, the proximal map of `strength * l0`.

        argmin_x (x - y)^2 / 2 + strength 1[x != 0] = y if |y| > sqrt(2 strength) else 0

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative or not finite.

    >>> prox_l0(jnp.array([3.0, 0.5]), 0.5).tolist()
    [3.0, 0.0]
    """
    size, strength = sizes(y, strength)
    return signed(y, jnp.where(size > jnp.sqrt(2 * strength), size, 0))
