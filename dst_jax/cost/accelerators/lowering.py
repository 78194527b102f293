"""The operands of one operation as the hardware walks over them."""

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Shaped

from dst_jax.cost.counting.op_profile import OpProfile

__all__ = ["is_depthwise", "is_matmul", "tap_views", "weight_by_channel"]


def is_matmul(profile: OpProfile) -> bool:
    """Whether the operation has no spatial axes.

    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> masks = (jnp.ones(shape, bool) for shape in ((5, 2), (2, 3), (5, 3)))
    >>> is_matmul(OpProfile(*masks, Geometry()))
    True
    """
    return profile.activation.ndim == 2


def is_depthwise(profile: OpProfile) -> bool:
    """Whether the operation is a convolution whose groups have one channel each.

    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> along = Geometry((1,), ((1, 1),), (1,), (1,), groups=2)
    >>> masks = (jnp.ones(shape, bool) for shape in ((1, 5, 2), (3, 1, 2), (1, 5, 2)))
    >>> is_depthwise(OpProfile(*masks, along))
    True
    """
    return not is_matmul(profile) and profile.geometry.groups == profile.channels > 1


def tap_views(
    x: Shaped[Array, "batch *spatial c"], profile: OpProfile
) -> Iterator[Shaped[Array, "batch *out c"]]:
    """For each tap in row-major order, what it reads at every output position.

    Padding and the holes of a dilated input read as zero. One view at a time is the
    columns of im2col that belong to a tap; the whole of im2col never exists.

    Args:
      x: mask of the activation, or counts of its elements summed over the batch.
      profile: operation whose window is taken.

    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> along = Geometry((1,), ((1, 1),), (1,), (1,))
    >>> masks = (jnp.ones(shape, bool) for shape in ((1, 3, 1), (3, 1, 1), (1, 3, 1)))
    >>> views = tap_views(jnp.arange(3).reshape(1, 3, 1) + 1, OpProfile(*masks, along))
    >>> [view.ravel().tolist() for view in views]
    [[0, 1, 2], [1, 2, 3], [2, 3, 0]]
    """
    geometry = profile.geometry
    dilation = geometry.lhs_dilation
    borders = [
        (low, high, d - 1)
        for (low, high), d in zip(geometry.padding, dilation, strict=True)
    ]
    still: Any = (0, 0, 0)
    x = lax.pad(x, jnp.zeros((), x.dtype), [still, *borders, still])
    out = profile.output.shape[1:-1]
    for tap in np.ndindex(*profile.weight.shape[:-2]):
        start = [t * d for t, d in zip(tap, geometry.rhs_dilation, strict=True)]
        last = [
            first + (size - 1) * stride + 1
            for first, size, stride in zip(start, out, geometry.strides, strict=True)
        ]
        yield lax.slice(
            x,
            (0, *start, 0),
            (x.shape[0], *last, x.shape[-1]),
            (1, *geometry.strides, 1),
        )


def weight_by_channel(profile: OpProfile) -> Bool[Array, "tap c filter"]:
    """The weights that each input channel meets, which are the filters of its group.

    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> masks = (jnp.ones(shape, bool) for shape in ((5, 4), (2, 6), (5, 6)))
    >>> weight_by_channel(OpProfile(*masks, Geometry(groups=2))).shape
    (1, 4, 3)
    """
    taps, groups = profile.taps, profile.geometry.groups
    channels, filters = profile.weight.shape[-2:]
    weight = profile.weight.reshape(taps, channels, groups, filters // groups)
    return weight.transpose(0, 2, 1, 3).reshape(taps, groups * channels, -1)
