"""The Transformed l1 penalty and its closed-form proximal map."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_positive, magnitude, upcast
from dst_jax.penalties._prox import signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["prox_transformed_l1", "transformed_l1"]


def transformed_l1(
    x: Float[Array, "..."], *, a: Scalar = 1.0, axis: Axis = None
) -> Float[Array, "..."]:
    """The Transformed l1 penalty, between l0 (a -> 0) and l1 (a -> inf).

        R(x) = sum_i (a + 1) |x_i| / (a + |x_i|)

    It is bounded by `a + 1` per entry, half of which is reached at `|x| = a`. The slope
    is `(a + 1) / a` just above 0 and falls as `1 / x^2`, so it hardly changes large
    entries. The gradient at 0 is 0.

    Args:
      x: array of any shape; half precision accumulates in float32.
      a: shape parameter > 0, may be traced (`beta` in Yu & Tian 2024). Float32 holds
        slopes for `a` down to about 1e-12.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `a` is not a finite number > 0.

    Reference:
      Yu & Tian 2024 (arXiv 2405.19652), equation 5; Zhang & Xin 2017
      (arXiv 1412.5240).

    >>> float(transformed_l1(jnp.array([1.0, -3.0, 0.0]), a=1.0))
    2.5
    """
    check_positive("a", a)
    x = upcast(x)
    return _transformed_sum(x, jnp.asarray(a, x.dtype), axis)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _transformed_sum(
    x: Float[Array, "..."], a: Float[Array, "..."], axis: Axis
) -> Float[Array, "..."]:
    """The sum of (a + 1) |x| / (a + |x|) over `axis`."""
    size = jnp.abs(x)
    # XLA:CPU sums quotients alone in a library that wants `a` as an array like `x`; it
    # has no selections.
    return (a + 1) * jnp.where(size == 0, 0, size / (a + size)).sum(axis)


@_transformed_sum.defjvp
def _transformed_sum_jvp(axis: Axis, primals, tangents):
    """Written by hand: autodiff of the quotient squares `a + |x|` and overflows."""
    x, a = primals
    x_dot, a_dot = tangents
    size = magnitude(x)
    near = a / (a + size)  # 1 at 0, falling to 0
    slope_x = (a + 1) / a * jnp.square(near) * jnp.sign(x)
    slope_a = (size / (a + size)) * ((size - 1) / (a + size))
    tangent = (slope_x * x_dot + slope_a * a_dot).sum(axis)
    return _transformed_sum(x, a, axis), tangent


def prox_transformed_l1(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    a: Scalar = 1.0,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * transformed_l1`, in closed form.

        argmin_x (x - y)^2 / 2 + strength (a + 1) |x| / (a + |x|)

        0 up to a threshold, beyond it
        sign(y) (2/3 (a + |y|) cos(phi / 3) - 2/3 a + |y| / 3),
        phi = arccos(1 - 27 strength a (a + 1) / (2 (a + |y|)^3))

    Continuous in `y` while `strength <= a^2 / (2 (a + 1))`; beyond that it jumps,
    as hard thresholding does.

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      a: shape parameter > 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `a` is not positive, or one is not finite.

    Reference:
      Zhang & Xin 2017 (Commun. Math. Sci. 15(2), 511-537). The paper was not
      available; the tests check the formula against a brute-force argmin.

    >>> [round(float(x), 3) for x in prox_transformed_l1(jnp.array([0.5, -4.0]), 0.6)]
    [0.0, -3.951]
    """
    check_positive("a", a)
    size, strength = sizes(y, strength)
    a = jnp.asarray(a, size.dtype)
    pull = strength * (a + 1)
    subcritical = pull <= jnp.square(a) / 2
    threshold = jnp.where(subcritical, pull / a, jnp.sqrt(2 * pull) - a / 2)
    kept = size > threshold
    reach = jnp.where(kept, a + size, a + threshold)  # keeps arcsin in its domain
    # As |y| - 4/3 (a + |y|) sin(phi / 6)^2 with phi = 2 arcsin(sqrt(q)): for small q or
    # large a the formula of the docstring would cancel.
    q = 27 / 4 * (pull / reach) * (a / reach) / reach
    sine = jnp.sin(jnp.arcsin(jnp.sqrt(jnp.clip(q, 1e-30, 1))) / 3)
    root = jnp.maximum(size - 4 / 3 * reach * jnp.square(sine), 0)
    return signed(y, jnp.where(kept, root, 0))
