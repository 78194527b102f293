"""The Laplace penalty (exponential-type penalty, ETP) and its proximal map."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_positive, magnitude, upcast
from dst_jax.penalties._prox import best, root_of, signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["laplace", "prox_laplace"]


def laplace(
    x: Float[Array, "..."], *, gamma: Scalar = 1.0, axis: Axis = None
) -> Float[Array, "..."]:
    """The Laplace penalty, bounded by 1 per entry; its slope falls exponentially.

        R(x) = sum_i 1 - exp(-|x_i| / gamma)

    Args:
      x: array of any shape; half precision accumulates in float32.
      gamma: shape parameter > 0, may be traced; the slope just above 0 is `1 / gamma`.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `gamma` is not a finite number > 0.

    Reference:
      Trzasko & Manduca 2009 (IEEE Trans. Med. Imaging 28(1), 106-121). Libraries that
      call it ETP divide by `1 - exp(-1 / gamma)`, so that R(1) = 1.

    >>> round(float(laplace(jnp.array([1.0, -100.0, 0.0]))), 4)
    1.6321
    """
    check_positive("gamma", gamma)
    size = magnitude(upcast(x))
    return -jnp.expm1(-size / gamma).sum(axis)


def prox_laplace(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    gamma: Scalar = 1.0,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * laplace`.

        x = |y| + gamma W0(-strength / gamma^2 exp(-|y| / gamma)), if that beats 0

    with Lambert's W0. JAX has no W0, so Newton's method finds the same root, of
    `x - |y| + strength / gamma exp(-x / gamma)`. From `|y|` it does not overshoot,
    because that function is convex.

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      gamma: shape parameter > 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `gamma` not positive, or one is not finite.

    >>> [round(float(x), 3) for x in prox_laplace(jnp.array([0.5, -4.0]), 1.0)]
    [0.0, -3.981]
    """
    check_positive("gamma", gamma)
    size, strength = sizes(y, strength)
    gamma = jnp.asarray(gamma, size.dtype)

    def stationary(x: Array) -> Array:
        return x - size + strength / gamma * jnp.exp(-x / gamma)

    root = root_of(stationary, jax.lax.stop_gradient(size), size)
    found = best(size, strength, lambda x: -jnp.expm1(-x / gamma), root)
    return signed(y, found)
