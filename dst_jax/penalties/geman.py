"""The Geman penalty: Transformed l1 without its normalisation."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_non_negative, check_positive
from dst_jax.penalties.transformed_l1 import prox_transformed_l1, transformed_l1
from dst_jax.typing import Axis, Scalar

__all__ = ["geman", "prox_geman"]


def geman(
    x: Float[Array, "..."], *, gamma: Scalar = 1.0, axis: Axis = None
) -> Float[Array, "..."]:
    """The Geman penalty, bounded by 1 per entry.

        R(x) = sum_i |x_i| / (|x_i| + gamma) = transformed_l1(x, a=gamma) / (gamma + 1)

    Args:
      x: array of any shape; half precision accumulates in float32.
      gamma: shape parameter > 0, may be traced; half of the bound is reached at
        `|x| = gamma`.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `gamma` is not a finite number > 0.

    Reference:
      Geman & Yang 1995 (IEEE Trans. Image Process. 4(7), 932-946).

    >>> float(geman(jnp.array([1.0, -3.0, 0.0])))
    1.25
    """
    check_positive("gamma", gamma)
    value = transformed_l1(x, a=gamma, axis=axis)
    return value / (jnp.asarray(gamma, value.dtype) + 1)


def prox_geman(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    gamma: Scalar = 1.0,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * geman`: that of Transformed l1, rescaled.

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      gamma: shape parameter > 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `gamma` not positive, or one is not finite.

    >>> [round(float(x), 3) for x in prox_geman(jnp.array([0.5, -4.0]), 1.2)]
    [0.0, -3.951]
    """
    check_non_negative("strength", strength)
    check_positive("gamma", gamma)
    return prox_transformed_l1(y, strength / (gamma + 1), a=gamma)
