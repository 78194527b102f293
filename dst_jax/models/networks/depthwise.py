"""Depthwise convolutions that are trained as sums of shifted maps.

XLA's CPU backend computes a depthwise convolution and its gradients 10 to 50 times as
slowly as the few multiplications that they are. So the convolution stays what it is,
for counts, groups and export on any backend; where it is derived, its value and its
derivatives are sums over the places of the window: a shifted map times one weight of
every channel.
"""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from dst_jax.jaxprs.plain_derivatives import (
    are_derivatives_plain,
    elementwise_derivative,
)
from dst_jax.models.networks.convolution_rules import (
    channels_last,
    multiplications,
    windows,
    with_derivatives,
)

__all__ = ["depthwise_conv"]

# Multiplications from which the sums pay: XLA takes about a millisecond for them.
_LEAST = 2**20
_Pads = Sequence[tuple[int, int]]


def depthwise_conv(
    x: Float[Array, "batch *channels_and_map"],
    kernel: Float[Array, "*window_and_channels"],
    strides: Sequence[int],
    padding: str | _Pads,
    *,
    sums: bool | None = None,
    **options: Any,
) -> Float[Array, "batch *new_channels_and_map"]:
    """A convolution; a depthwise one is trained as a sum of shifted maps.

    Takes the place of `conv_general_dilated` in `flax.linen.Conv`. Convolutions of
    other groups, with several filters to a channel, dilation, axes in another order or
    in a type below float32 are derived by `jax.lax.conv_general_dilated`.

    Args:
      x: map.
      kernel: weights.
      strides: stride along every axis of the map.
      padding: numbers of zeros before and after every axis of the map.
      sums: Whether it is derived as a sum; None for those of at least 2^20
        multiplications where the CPU is the only device. (The gradient of the kernel
        goes from image to image, which a batch on several devices could not.) Where
        `cost` counts, it is derived as the products it is.
      **options: other options of `jax.lax.conv_general_dilated`.

    Returns:
      The map of `jax.lax.conv_general_dilated`: to the bit where it is not derived, up
      to rounding where it is.

    >>> x, numbers = jnp.ones((1, 4, 4, 2)), ("NHWC", "HWIO", "NHWC")
    >>> def total(kernel):
    ...     options = {"dimension_numbers": numbers, "feature_group_count": 2}
    ...     y = depthwise_conv(x, kernel, (1, 1), "VALID", sums=True, **options)
    ...     return y.sum()
    >>> jax.grad(total)(jnp.ones((3, 1, 1, 2))).ravel().tolist()
    [8.0, 8.0, 8.0, 8.0, 8.0, 8.0]
    """

    def convolve(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)

    if sums is None:
        large = multiplications(x, kernel, strides) >= _LEAST
        alone = jax.default_backend() == "cpu" and jax.device_count() == 1
        sums = large and alone
    if not sums or are_derivatives_plain() or not _is_depthwise(x, kernel, options):
        return convolve(x, kernel)
    place = {"strides": tuple(strides), "padding": padding}
    shifted = partial(_shifted, **place)
    by_kernel = partial(_by_image, **place)
    derived = with_derivatives(
        convolve, value=shifted, by_input=shifted, by_kernel=by_kernel
    )
    return derived(x, kernel)


def _is_depthwise(x: Array, kernel: Array, options: Mapping[str, Any]) -> bool:
    """Whether every channel has one filter of its own."""
    inputs, outputs = kernel.shape[-2:]
    accumulated = options.get("preferred_element_type") or x.dtype
    return (
        x.dtype == kernel.dtype == accumulated
        and x.dtype in (jnp.float32, jnp.float64)
        and channels_last(x, kernel, options)
        and inputs == 1
        and options.get("feature_group_count", 1) == outputs == x.shape[-1]
    )


def _shifted(
    x: Float[Array, "batch *map channels"],
    kernel: Float[Array, "*window 1 channels"],
    *,
    strides: Sequence[int],
    padding: str | _Pads,
) -> Float[Array, "batch *new_map channels"]:
    """The convolution, as a sum over the places of the window."""
    parts = windows(x, kernel, strides, padding)
    with elementwise_derivative():
        return reduce(jnp.add, map(jnp.multiply, parts, _weights(kernel)))


def _by_image(
    x: Float[Array, "batch *map channels"],
    kernel: Float[Array, "*window 1 channels"],
    *,
    strides: Sequence[int],
    padding: str | _Pads,
) -> Float[Array, "batch *new_map channels"]:
    """`_shifted`, whose derivative by the kernel sums over images, then over places.

    XLA sums over all leading axes of a map at a time channel by channel, from one end
    of memory to the other. So the weights are repeated for every place of a map, their
    gradients are of one image at a time, and only their sum is over the map. Without
    `jax.checkpoint` all shifted maps would be kept.
    """
    example = jax.eval_shape(
        lambda x: next(windows(x, kernel, strides, padding)), x[:1]
    )
    weights = [jnp.broadcast_to(w, example.shape) for w in _weights(kernel)]

    @jax.checkpoint
    def of_image(x: Array, weights: list[Array]) -> Array:
        parts = windows(x[None], kernel, strides, padding)
        with elementwise_derivative():
            return reduce(jnp.add, map(jnp.multiply, parts, weights))[0]

    return lax.map(lambda image: of_image(image, weights), x)


def _weights(kernel: Array) -> list[Float[Array, "1 *ones channels"]]:
    """The weights of every place of the window."""
    places = product(*map(range, kernel.shape[:-2]))
    return [kernel[tuple(slice(i, i + 1) for i in place)] for place in places]
