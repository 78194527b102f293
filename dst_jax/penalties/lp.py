"""The lp penalties, 0 < p < 1, and thresholding for p = 1/2 and p = 2/3."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import (
    check,
    check_positive,
    magnitude,
    quotient,
    upcast,
)
from dst_jax.penalties._prox import signed, sizes
from dst_jax.typing import Axis, Scalar, concrete, is_traced

__all__ = ["l_half", "l_two_thirds", "lp", "prox_l_half", "prox_l_two_thirds"]


def lp(
    x: Float[Array, "..."],
    *,
    p: Scalar = 0.5,
    eps: Scalar = 1e-3,
    axis: Axis = None,
) -> Float[Array, "..."]:
    """The p-th power of the lp quasi-norm, between l0 (p -> 0) and l1 (p = 1).

        R(x) = sum_i (|x_i| + eps)^p - eps^p

    The slope of `|x|^p` at 0 is infinite; shifted by `eps` it is `p eps^(p - 1)`. The
    kink at 0, which makes exact zeros, remains.

    Args:
      x: array of any shape; half precision accumulates in float32.
      p: exponent in (0, 1], may be traced.
      eps: shift > 0, may be traced. Second derivatives are about `eps^(p - 2)`.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `p` is not in (0, 1] or `eps` is not a finite number > 0.

    >>> round(float(lp(jnp.array([4.0, -9.0, 0.0]), p=0.5, eps=1e-10)), 3)
    5.0
    """
    check("p", p, "in (0, 1]", lambda v: 0 < v <= 1)
    check_positive("eps", eps)
    size = magnitude(upcast(x))
    # Not of a traced exponent: which it is would be known too late.
    for exponent, root in ROOTS.items():
        if not is_traced(p) and concrete(p) == exponent:
            return root(size, jnp.asarray(eps, size.dtype)).sum(axis)
    small = size < eps
    # Below eps the difference of two powers would cancel.
    ratio = jnp.where(small, size, 0) / eps
    near = eps**p * jnp.expm1(p * jnp.log1p(ratio))
    far = (jnp.where(small, eps, size) + eps) ** p - eps**p
    return jnp.where(small, near, far).sum(axis)


def l_half(
    x: Float[Array, "..."], *, eps: Scalar = 1e-3, axis: Axis = None
) -> Float[Array, "..."]:
    """The l1/2 penalty: `lp` with p = 1/2.

        R(x) = sum_i sqrt(|x_i| + eps) - sqrt(eps)

    Args:
      x: array of any shape; half precision accumulates in float32.
      eps: shift > 0, may be traced; the slope just above 0 is `eps^(-1/2) / 2`.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `eps` is not a finite number > 0.

    >>> round(float(l_half(jnp.array([4.0, -9.0, 0.0]), eps=1e-10)), 3)
    5.0
    """
    return lp(x, p=1 / 2, eps=eps, axis=axis)


def l_two_thirds(
    x: Float[Array, "..."], *, eps: Scalar = 1e-3, axis: Axis = None
) -> Float[Array, "..."]:
    """The l2/3 penalty: `lp` with p = 2/3.

        R(x) = sum_i (|x_i| + eps)^(2/3) - eps^(2/3)

    Args:
      x: array of any shape; half precision accumulates in float32.
      eps: shift > 0, may be traced; the slope just above 0 is `2/3 eps^(-1/3)`.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `eps` is not a finite number > 0.

    >>> round(float(l_two_thirds(jnp.array([8.0, -27.0]), eps=1e-10)), 3)
    13.0
    """
    return lp(x, p=2 / 3, eps=eps, axis=axis)


@jax.custom_jvp
def _half(
    size: Float[Array, "*shape"], eps: Float[Array, "..."]
) -> Float[Array, "*shape"]:
    """sqrt(size + eps) - sqrt(eps), without a difference."""
    return size / (jnp.sqrt(size + eps) + jnp.sqrt(eps))


@_half.defjvp
def _half_jvp(primals, tangents):
    (size, eps), (size_dot, eps_dot) = primals, tangents
    # Not sqrt: XLA would keep the roots of the value, an array like `size`, for it.
    slope = jax.lax.rsqrt(size + eps) / 2
    value = _half(size, eps)
    return value, slope * (size_dot - quotient(value, jnp.sqrt(eps)) * eps_dot)


@jax.custom_jvp
def _two_thirds(
    size: Float[Array, "*shape"], eps: Float[Array, "..."]
) -> Float[Array, "*shape"]:
    """(size + eps)^(2/3) - eps^(2/3), without a difference."""
    root, least = _cbrt(size + eps), _cbrt(eps)
    # With u and v for the roots: u^2 - v^2 = (u^3 - v^3) (u + v) / (u^2 + u v + v^2).
    ratio = least / root
    return (1 + ratio) / (1 + ratio + jnp.square(ratio)) * (size / root)


@_two_thirds.defjvp
def _two_thirds_jvp(primals, tangents):
    (size, eps), (size_dot, eps_dot) = primals, tangents
    root, least = _cbrt(size + eps), _cbrt(eps)
    value = _two_thirds(size, eps)
    slope = quotient(jnp.asarray(2 / 3, size.dtype), root)
    # 1 / v - 1 / u = (u^2 - v^2) / (u v (u + v))
    return value, slope * (size_dot - quotient(value, least * (root + least)) * eps_dot)


@jax.custom_jvp
def _cbrt(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The cube root of a number > 0, from a logarithm and one step of Newton.

    >>> round(float(_cbrt(jnp.array(27.0))), 6)
    3.0
    """
    root = jnp.exp(jnp.log(x) / 3)
    return root + (x / jnp.square(root) - root) / 3


@_cbrt.defjvp
def _cbrt_jvp(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    root = _cbrt(x)
    return root, quotient(quotient(x_dot, 3 * root), root)


# Exponents with a formula of their own, without the powers of any exponent.
ROOTS = {1 / 2: _half, 2 / 3: _two_thirds}


def prox_l_half(y: Float[Array, "*shape"], strength: Scalar) -> Float[Array, "*shape"]:
    """Half thresholding, the proximal map of `strength * sum sqrt|x|` (`eps = 0`).

        0 where |y| <= 3/2 strength^(2/3), else
        2/3 y (1 + cos(2/3 arccos(-3^(3/2) / 4 * strength |y|^(-3/2))))

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative or not finite.

    Reference:
      Xu, Chang, Xu, Zhang 2012 (IEEE TNNLS 23(7), 1013-1027).

    >>> [round(float(x), 3) for x in prox_l_half(jnp.array([1.4, 4.0]), 1.0)]
    [0.0, 3.742]
    """
    size, strength = sizes(y, strength)
    threshold = 1.5 * jnp.square(jnp.cbrt(strength))
    kept = size > threshold
    ratio = jnp.cbrt(strength) / jnp.sqrt(jnp.where(kept, size, threshold + 1))
    angle = jnp.arccos(-(3**1.5) / 4 * ratio**3)
    return signed(y, jnp.where(kept, 2 / 3 * size * (1 + jnp.cos(angle * 2 / 3)), 0))


def prox_l_two_thirds(
    y: Float[Array, "*shape"], strength: Scalar
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * sum |x|^(2/3)` (`eps = 0`), in closed form.

    0 where `|y| <= 2 (2/3 strength)^(3/4)`; beyond that `x = |y| t^3` with the largest
    root `t` of the quartic `t^4 - t + 2/3 strength |y|^(-4/3) = 0`.

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative or not finite.

    Reference:
      Cao, Sun, Xu 2013 (J. Vis. Commun. Image R. 24(1), 31-41).

    >>> [round(float(x), 3) for x in prox_l_two_thirds(jnp.array([1.4, 4.0]), 1.0)]
    [0.0, 3.564]
    """
    size, strength = sizes(y, strength)
    threshold = 2 * (2 / 3 * strength) ** 0.75
    kept = size > threshold
    ratio = (2 / 3 * strength) ** 0.25 / jnp.cbrt(jnp.where(kept, size, threshold + 1))
    pull = ratio**4  # 2/3 strength |y|^(-4/3)
    # Ferrari's resolvent, scaled by |y| so that no power of it overflows or cancels.
    cube = jnp.cbrt((1 + jnp.sqrt(1 - 256 / 27 * pull**3)) / 16)
    width = jnp.sqrt(2 * (cube + pull / (3 * cube)))
    t = (width + jnp.sqrt(2 / width - jnp.square(width))) / 2
    return signed(y, jnp.where(kept, size * t**3, 0))
