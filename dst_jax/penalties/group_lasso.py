"""The group lasso over channels of maps and weights, and block soft thresholding."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import axes_of, l2_norm, upcast
from dst_jax.penalties._prox import sizes
from dst_jax.typing import Axis, Scalar

__all__ = ["group_lasso", "prox_group_lasso"]


def group_lasso(
    x: Float[Array, "..."], *, group_axis: int | tuple[int, ...] = -1, axis: Axis = None
) -> Float[Array, "..."]:
    """The sum of the groups' l2 norms, which makes whole groups zero.

        R(x) = sum_g sqrt(sum_{i in g} x_i^2)

    A group is one position along `group_axis`: by default a channel of a map (..., c)
    or an output channel of a kernel (h, w, in, out); -2 groups a kernel by input
    channel, (1, 2) a batch of maps by pixel. All groups of an array have the same size;
    Yuan & Lin's factor sqrt(group size) belongs in the layer's weight.

    Args:
      x: array of any shape; half precision accumulates in float32.
      group_axis: axis or axes that number the groups; static.
      axis: axes to reduce; None reduces everything to a scalar.

    Returns:
      `x` reduced over `axis`, float32 or wider.

    Raises:
      ValueError: an axis is out of range.

    Reference:
      Yuan & Lin 2006 (J. R. Stat. Soc. B 68, 49-67); on kernels of networks Wen et
      al. 2016 (arXiv 1608.03665).

    >>> float(group_lasso(jnp.array([[3.0, 0.0], [-4.0, 2.0]])))
    7.0
    """
    groups, axes = axes_of(x, group_axis), axes_of(x, axis)
    within = tuple(i for i in axes if i not in groups)
    return l2_norm(upcast(x), within).sum(axes)


def prox_group_lasso(
    y: Float[Array, "*shape"],
    strength: Scalar,
    *,
    group_axis: int | tuple[int, ...] = -1,
) -> Float[Array, "*shape"]:
    """Block soft thresholding, the proximal map of `strength * group_lasso`.

        y_g max(1 - strength / |y_g|, 0)   for every group g

    Args:
      y: array of any shape.
      strength: a number >= 0, may be traced.
      group_axis: axis or axes that number the groups; static. For a batch of
        maps, name the batch axis too: `(0, -1)`.

    Returns:
      An array like `y`.

    Raises:
      ValueError: `strength` is negative or not finite, or an axis is out of range.

    >>> prox_group_lasso(jnp.array([[3.0, 0.5], [-4.0, 0.0]]), 2.5).tolist()
    [[1.5, 0.0], [-2.0, 0.0]]
    """
    size, strength = sizes(y, strength)
    groups = axes_of(y, group_axis)
    norm = l2_norm(size, tuple(i for i in range(y.ndim) if i not in groups))
    kept = norm > strength
    share = jnp.where(kept, 1 - strength / jnp.where(kept, norm, 1), 0)
    return (y * share).astype(y.dtype)
