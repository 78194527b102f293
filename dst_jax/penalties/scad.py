"""The smoothly clipped absolute deviation (SCAD) and its proximal map."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check, check_positive, magnitude, upcast
from dst_jax.penalties._prox import best, signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["prox_scad", "scad"]


def scad(
    x: Float[Array, "..."],
    *,
    lam: Scalar = 1.0,
    a: Scalar = 3.7,
    axis: Axis = None,
) -> Float[Array, "..."]:
    """The SCAD penalty: `lam * l1` up to `lam`, flat beyond `a * lam`.

        R(x) = sum_i lam s_i - max(s_i - lam, 0)^2 / (2 (a - 1)),
        s_i = min(|x_i|, a lam)

    Args:
      x: array of any shape; half precision accumulates in float32.
      lam: slope just above 0 and first knot, from which the slope falls, > 0, may be
        traced.
      a: second knot, at which the slope reaches 0, in units of `lam`, > 2, may be
        traced.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `lam` is not a finite number > 0, or `a` not one > 2.

    Reference:
      Fan & Li 2001 (JASA 96, 1348-1360), which suggests `a = 3.7`.

    >>> float(scad(jnp.array([1.0, -100.0, 0.0]), lam=1.0, a=3.0))
    3.0
    """
    _check(lam, a)
    return _clipped(magnitude(upcast(x)), lam, a).sum(axis)


def prox_scad(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    lam: Scalar = 1.0,
    a: Scalar = 3.7,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * scad`: the best of its three pieces.

        sign(y) max(|y| - strength lam, 0)                   where that is <= lam
        sign(y) ((a - 1) |y| - strength a lam) / (a - 1 - strength)    up to a lam
        y                                                          beyond a lam

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      lam: slope and first knot, > 0, may be traced.
      a: second knot in units of `lam`, > 2, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `lam` is not positive, `a` is not above 2,
        or one is not finite.

    >>> prox_scad(jnp.array([1.5, 2.5, -4.0]), 1.0, a=3.0).tolist()
    [0.5, 2.0, -4.0]
    """
    _check(lam, a)
    size, strength = sizes(y, strength)
    lam, a = jnp.asarray(lam, size.dtype), jnp.asarray(a, size.dtype)
    soft = jnp.clip(size - strength * lam, 0, lam)
    convex = strength < a - 1
    slope = jnp.where(convex, a - 1 - strength, 1)
    between = jnp.clip((size * (a - 1) - strength * a * lam) / slope, lam, a * lam)
    between = jnp.where(convex, between, lam)
    kept = jnp.maximum(size, a * lam)
    found = best(size, strength, lambda x: _clipped(x, lam, a), soft, between, kept)
    return signed(y, found)


def _check(lam: Scalar, a: Scalar) -> None:
    check_positive("lam", lam)
    check("a", a, "> 2", lambda v: v > 2)


def _clipped(size: Array, lam: Any, a: Any) -> Array:
    rising = jnp.minimum(size, a * lam)
    bent = jnp.maximum(rising - lam, 0)
    return lam * rising - bent * (bent / (2 * (a - 1)))
