"""The Cauchy penalty and its proximal map."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_positive, log_one_plus, upcast
from dst_jax.penalties._prox import best, root_of, signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["cauchy", "prox_cauchy"]


def cauchy(
    x: Float[Array, "..."], *, gamma: Scalar = 1.0, axis: Axis = None
) -> Float[Array, "..."]:
    """The Cauchy penalty, a parabola near 0 and a logarithm far from 0.

        R(x) = sum_i log(1 + x_i^2 / gamma^2)

    It is smooth at 0, so it makes small entries smaller but none exactly 0. After a
    ReLU, the ReLU makes the zeros.

    Args:
      x: array of any shape; half precision accumulates in float32.
      gamma: shape parameter > 0, may be traced; the slope is largest there.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `gamma` is not a finite number > 0.

    >>> round(float(cauchy(jnp.array([3.0, 0.0]))), 4)
    2.3026
    """
    check_positive("gamma", gamma)
    size = jnp.abs(upcast(x))  # the slope at 0 is 0 already, the curvature is not
    return log_one_plus(size, jnp.asarray(gamma, size.dtype), power=2).sum(axis)


def prox_cauchy(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    gamma: Scalar = 1.0,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * cauchy`; only 0 is mapped to 0.

    The best root of `x^3 - |y| x^2 + (gamma^2 + 2 strength) x - |y| gamma^2 = 0`. The
    outer roots are on either side of the inflection at `|y| / 3`. Newton's method
    reaches each from its end without overshooting; Cardano's formula would cancel in
    float32.

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      gamma: shape parameter > 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `gamma` not positive, or one is not finite.

    >>> [round(float(x), 3) for x in prox_cauchy(jnp.array([0.5, -4.0]), 1.0)]
    [0.17, -3.468]
    """
    check_positive("gamma", gamma)
    size, strength = sizes(y, strength)
    gamma = jnp.asarray(gamma, size.dtype)
    # In u = x / |y|, with coefficients scaled into [0, 3].
    scale = jnp.maximum(jnp.maximum(size, gamma), jnp.sqrt(strength))
    scale = jax.lax.stop_gradient(scale)  # a common factor: no root depends on it
    cubic, constant = jnp.square(size / scale), jnp.square(gamma / scale)
    linear = constant + 2 * jnp.square(jnp.sqrt(strength) / scale)

    def stationary(u: Array) -> Array:
        return (cubic * (u - 1) * u + linear) * u - constant

    low = size * root_of(stationary, jnp.zeros_like(size), 1.0)
    high = size * root_of(stationary, jnp.ones_like(size), 1.0)
    found = best(size, strength, lambda x: log_one_plus(x, gamma, power=2), low, high)
    return signed(y, found)
