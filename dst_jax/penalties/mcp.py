"""The minimax concave penalty (MCP) and firm thresholding."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_positive, magnitude, upcast
from dst_jax.penalties._prox import best, signed, sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["mcp", "prox_mcp"]


def mcp(
    x: Float[Array, "..."],
    *,
    lam: Scalar = 1.0,
    gamma: Scalar = 3.0,
    axis: Axis = None,
) -> Float[Array, "..."]:
    """The minimax concave penalty: l1 at 0, flat beyond `gamma * lam`.

        R(x) = sum_i lam s_i - s_i^2 / (2 gamma),  s_i = min(|x_i|, gamma lam)

    Args:
      x: array of any shape; half precision accumulates in float32.
      lam: slope just above 0, > 0, may be traced.
      gamma: range of the penalty in units of `lam`, > 0, may be traced: the slope is
        `lam - |x| / gamma`.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: `lam` or `gamma` is not a finite number > 0.

    Reference:
      Zhang 2010 (Annals of Statistics 38(2), 894-942).

    >>> float(mcp(jnp.array([1.0, -100.0, 0.0]), lam=1.0, gamma=2.0))
    1.75
    """
    check_positive("lam", lam)
    check_positive("gamma", gamma)
    return _concave(magnitude(upcast(x)), lam, gamma).sum(axis)


def prox_mcp(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    lam: Scalar = 1.0,
    gamma: Scalar = 3.0,
) -> Float[Array, "*shape"]:
    """Firm thresholding, the proximal map of `strength * mcp`.

        0 up to strength lam, y beyond gamma lam, and between them
        sign(y) (|y| - strength lam) / (1 - strength / gamma)

    With `strength >= gamma` the middle piece is empty: hard thresholding at
    `lam sqrt(strength gamma)`.

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      lam: slope just above 0, > 0, may be traced.
      gamma: concavity > 0, may be traced.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative, `lam` or `gamma` is not positive, or one is
        not finite.

    >>> prox_mcp(jnp.array([1.0, 2.0, -4.0]), 1.0, gamma=2.0).tolist()
    [0.0, 2.0, -4.0]
    """
    check_positive("lam", lam)
    check_positive("gamma", gamma)
    size, strength = sizes(y, strength)
    lam, gamma = jnp.asarray(lam, size.dtype), jnp.asarray(gamma, size.dtype)
    convex = strength < gamma
    expansion = jnp.where(convex, 1 - strength / gamma, 1)
    firm = jnp.clip((size - strength * lam) / expansion, 0, gamma * lam)
    firm = jnp.where(convex, firm, 0)
    kept = jnp.maximum(size, gamma * lam)
    found = best(size, strength, lambda x: _concave(x, lam, gamma), firm, kept)
    return signed(y, found)


def _concave(size: Array, lam: Any, gamma: Any) -> Array:
    rising = jnp.minimum(size, gamma * lam)
    return rising * (lam - rising / (2 * gamma))
