"""The log-sum penalty and its closed-form proximal map."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import (
    check_positive,
    log_one_plus,
    magnitude,
    upcast,
)
from dst_jax.penalties._prox import best, signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["log_sum", "prox_log_sum"]


def log_sum(
    x: Float[Array, "..."], *, eps: Scalar = 0.1, axis: Axis = None
) -> Float[Array, "..."]:
    """The log-sum penalty, unbounded but with a slope that falls as `1 / |x|`.

        R(x) = sum_i log(1 + |x_i| / eps)

    Args:
      x: array of any shape; half precision accumulates in float32.
      eps: shape parameter > 0, may be traced; the slope just above 0 is `1 / eps`.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `eps` is not a finite number > 0.

    Reference:
      Candes, Wakin, Boyd 2008 (J. Fourier Anal. Appl. 14, 877-905).

    >>> round(float(log_sum(jnp.array([0.9, 0.0]), eps=0.1)), 4)
    2.3026
    """
    check_positive("eps", eps)
    size = magnitude(upcast(x))
    return log_one_plus(size, jnp.asarray(eps, size.dtype), power=1).sum(axis)


def prox_log_sum(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    eps: Scalar = 0.1,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * log_sum`: a root of a quadratic, or 0.

        x = (|y| - eps) / 2 + sqrt((|y| + eps)^2 / 4 - strength), if that beats 0

    Where `|y| < eps` that is the quotient of `|y| eps - strength` and the other root,
    which does not cancel at large `eps`.

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      eps: shape parameter > 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `eps` is not positive, or one is not finite.

    >>> [round(float(x), 3) for x in prox_log_sum(jnp.array([0.5, -4.0]), 1.0)]
    [0.0, -3.74]
    """
    check_positive("eps", eps)
    size, strength = sizes(y, strength)
    eps = jnp.asarray(eps, size.dtype)
    half, root = (size + eps) / 2, jnp.sqrt(strength)
    real = half > root
    # sqrt(half^2 - strength) in factors, since half^2 may overflow.
    gap = jnp.where(real, half - root, 1)
    distance = jnp.sqrt(gap) * jnp.sqrt(half + root)
    middle = (size - eps) / 2
    # Below a middle of 0 their sum cancels: there, Vieta's formula.
    below = middle < 0
    above = jnp.where(below, 0, middle) + distance
    unit = jnp.where(below, eps, 1)
    product, other = size - strength / unit, distance - jnp.where(below, middle, 0)
    outer = jnp.where(below, product / (other / unit), above)
    candidate = jnp.where(real, jnp.maximum(outer, 0), 0)
    found = best(size, strength, lambda x: log_one_plus(x, eps, power=1), candidate)
    return signed(y, found)
