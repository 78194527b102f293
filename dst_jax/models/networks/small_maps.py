"""Convolutions to maps of at most four positions, trained as matrix products.

XLA's CPU backend takes 20 to 140 times as long for a 3x3 convolution to a map of 2x2 as
the product of its windows and its kernel does, and as long for the gradient of its
input. ResNets end in such maps where images are small. So the convolution stays what it
is, for counts, groups and export on any backend; where it is derived, its value and the
gradient of its input are matrix products. The gradient of the kernel is XLA's, which is
fast.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from dst_jax.jaxprs.plain_derivatives import are_derivatives_plain
from dst_jax.models.networks.convolution_rules import (
    channels_last,
    multiplications,
    windows,
    with_derivatives,
)

__all__ = ["small_map_conv"]

# Multiplications from which the products pay. With fewer, a layer takes a fraction of a
# millisecond either way, and small networks train as before, to the bit.
_LEAST = 2**22

# Positions of the largest map: at 3x3, XLA's convolution is as fast.
_MOST_POSITIONS = 4

_Padding = str | Sequence[tuple[int, int]]


def small_map_conv(
    x: Float[Array, "batch *channels_and_map"],
    kernel: Float[Array, "*window_and_channels"],
    strides: Sequence[int],
    padding: _Padding,
    *,
    products: bool | None = None,
    **options: Any,
) -> Float[Array, "batch *new_channels_and_map"]:
    """A convolution; one to at most four positions is trained as matrix products.

    Takes the place of `conv_general_dilated` in `flax.linen.Conv`. Convolutions to
    larger maps, with dilation, groups, or axes in another order are derived by
    `jax.lax.conv_general_dilated`.

    Args:
      x: map.
      kernel: weights.
      strides: stride along every axis of the map.
      padding: numbers of zeros before and after every axis of the map.
      products: Whether it is derived as products; None for those of at least 2^22
        multiplications where the default backend is the CPU. Where `cost` counts, it
        is derived as the convolution it is.
      **options: other options of `jax.lax.conv_general_dilated`.

    Returns:
      The map of `jax.lax.conv_general_dilated`: to the bit where it is not derived, up
      to rounding where it is.

    >>> x, numbers = jnp.ones((1, 2, 2, 2)), ("NHWC", "HWIO", "NHWC")
    >>> def total(x):
    ...     options = {"dimension_numbers": numbers, "products": True}
    ...     return small_map_conv(x, jnp.ones((3, 3, 2, 5)), (1, 1), "SAME", **options)
    >>> jax.grad(lambda x: total(x).sum())(x)[..., 0].tolist()
    [[[20.0, 20.0], [20.0, 20.0]]]
    """

    def convolve(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)

    if products is None:
        large = multiplications(x, kernel, strides) >= _LEAST
        products = large and jax.default_backend() == "cpu"
    if not products or are_derivatives_plain() or not _is_whole(x, kernel, options):
        return convolve(x, kernel)
    y = jax.eval_shape(convolve, x, kernel)
    if not 1 <= math.prod(y.shape[1:-1]) <= _MOST_POSITIONS:
        return convolve(x, kernel)
    multiply = partial(
        _product,
        strides=strides,
        padding=padding,
        precision=options.get("precision"),
        preferred_element_type=options.get("preferred_element_type"),
    )
    derived = with_derivatives(
        convolve, value=multiply, by_input=multiply, by_kernel=convolve
    )
    return derived(x, kernel)


def _is_whole(x: Array, kernel: Array, options: Mapping[str, Any]) -> bool:
    """Whether every filter reads all channels of a window without gaps."""
    ungrouped = options.get("feature_group_count", 1) == 1
    return ungrouped and channels_last(x, kernel, options)


def _product(
    x: Float[Array, "batch *map inputs"],
    kernel: Float[Array, "*window inputs outputs"],
    *,
    strides: Sequence[int],
    padding: _Padding,
    precision: Any,
    preferred_element_type: Any,
) -> Float[Array, "batch *new_map outputs"]:
    """The windows that a convolution reads, times the kernel."""
    outputs = kernel.shape[-1]
    read = jnp.concatenate([*windows(x, kernel, strides, padding)], axis=-1)
    found = lax.dot_general(
        read.reshape(-1, read.shape[-1]),
        kernel.reshape(-1, outputs),
        (((1,), (0,)), ((), ())),
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    return found.reshape(*read.shape[:-1], outputs)
