"""The capped l1 penalty and its proximal map."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_positive, magnitude, upcast
from dst_jax.penalties._prox import best, signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["capped_l1", "prox_capped_l1"]


def capped_l1(
    x: Float[Array, "..."], *, theta: Scalar = 1.0, axis: Axis = None
) -> Float[Array, "..."]:
    """The l1 norm with a cap; entries at or above `theta` have gradient 0.

        R(x) = sum_i min(|x_i|, theta)

    With `theta` a little above a FATReLU's threshold, only entries near the threshold
    are pulled under it.

    Args:
      x: array of any shape; half precision accumulates in float32.
      theta: cap of an entry, > 0, may be traced.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `theta` is not a finite number > 0.

    Reference:
      Zhang 2010 (JMLR 11, 1081-1107).

    >>> float(capped_l1(jnp.array([0.5, -100.0, 0.0])))
    1.5
    """
    check_positive("theta", theta)
    size = magnitude(upcast(x))
    return jnp.where(size < theta, size, theta).sum(axis)


def prox_capped_l1(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    theta: Scalar = 1.0,
) -> Float[Array, "*shape"]:
    """The proximal map of `strength * capped_l1`.

        the better of min(max(|y| - strength, 0), theta) and max(|y|, theta)

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      theta: cap of an entry, > 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `theta` not positive, or one is not finite.

    >>> prox_capped_l1(jnp.array([1.0, -2.0]), 0.75).tolist()
    [0.25, -2.0]
    """
    check_positive("theta", theta)
    size, strength = sizes(y, strength)
    theta = jnp.asarray(theta, size.dtype)
    soft = jnp.clip(size - strength, 0, theta)
    kept = jnp.maximum(size, theta)
    found = best(size, strength, lambda x: jnp.minimum(x, theta), soft, kept)
    return signed(y, found)
