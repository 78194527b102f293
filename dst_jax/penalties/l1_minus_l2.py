"""The difference of l1 and l2 norm and its closed-form proximal map."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import axes_of, check, l2_norm, magnitude, upcast
from dst_jax.penalties._prox import signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["l1_minus_l2", "prox_l1_minus_l2"]


def l1_minus_l2(
    x: Float[Array, "..."], *, alpha: Scalar = 1.0, axis: Axis = None
) -> Float[Array, "..."]:
    """The l1 norm minus a share of the l2 norm, 0 for at most one nonzero if alpha = 1.

        R(x) = sum_i |x_i| - alpha sqrt(sum_i x_i^2)

    Args:
      x: array of any shape; half precision accumulates in float32.
      alpha: share of the l2 norm, in [0, 1], may be traced; 0 is l1.
      axis: axes to reduce, taken together as one vector; None reduces everything to
        a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `alpha` is not in [0, 1].

    Reference:
      Yin, Lou, He, Xin 2015 (SIAM J. Sci. Comput. 37(1), A536-A563).

    >>> float(l1_minus_l2(jnp.array([3.0, -4.0]))), float(l1_minus_l2(jnp.array([7.0])))
    (2.0, 0.0)
    """
    _check_alpha(alpha)
    x, axes = upcast(x), axes_of(x, axis)
    return magnitude(x).sum(axes) - alpha * l2_norm(x, axes).squeeze(axes)


def prox_l1_minus_l2(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    alpha: Scalar = 1.0,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * l1_minus_l2` for `y` as one vector.

        max|y| > strength:  z (|z| + alpha strength) / |z|, z the soft-thresholded y
        (1 - alpha) strength < max|y| <= strength:  only the first largest entry, of
                            size max|y| + (alpha - 1) strength
        else:               0

    Args:
      y: array of any shape; use `jax.vmap` for a batch.
      strength: a number >= 0, may be traced.
      alpha: share of the l2 norm, in [0, 1], may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative or not finite, or `alpha` is not in [0, 1].

    Reference:
      Lou & Yan 2018 (J. Sci. Comput. 74, 767-785), lemma 1.

    >>> [round(float(x), 3) for x in prox_l1_minus_l2(jnp.array([4.0, -5.0]), 1.0)]
    [3.6, -4.8]
    >>> prox_l1_minus_l2(jnp.array([0.5, -0.75]), 1.0).tolist()
    [0.0, -0.75]
    """
    _check_alpha(alpha)
    size, strength = sizes(y, strength)
    soft = jnp.maximum(size - strength, 0)
    norm = l2_norm(soft, axes_of(soft, None)).squeeze()
    grown = soft * (1 + alpha * strength / jnp.where(norm > 0, norm, 1))
    flat = size.ravel()
    largest = jnp.arange(flat.size) == flat.argmax()
    single = jnp.maximum(flat + (alpha - 1) * strength, 0)
    alone = jnp.where(largest, single, 0).reshape(size.shape)
    return signed(y, jnp.where(size.max() > strength, grown, alone))


def _check_alpha(alpha: Scalar) -> None:
    check("alpha", alpha, "in [0, 1]", lambda v: 0 <= v <= 1)
