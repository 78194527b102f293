"""1x1 convolutions whose gradients are matrix products.

XLA's CPU backend computes a 1x1 convolution as fast as a matrix product, but not the
gradient of its kernel: as a convolution with a window as large as the map, it takes
three to ten times as long. So the convolution stays what it is, for counts, groups and
export on any backend, and has a derivative of its own.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
from jax import lax
from jaxtyping import Array, Float

from dst_jax.models.networks.convolution_rules import (
    channels_last,
    multiplications,
    with_derivatives,
)

__all__ = ["pointwise_conv"]

# Multiplications from which the products pay. With fewer, a layer takes a fraction of a
# millisecond either way, and small networks train as before, to the bit.
_LEAST = 2**22


def pointwise_conv(
    x: Float[Array, "batch *channels_and_map"],
    kernel: Float[Array, "*window_and_channels"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    *,
    products: bool | None = None,
    **options: Any,
) -> Float[Array, "batch *new_channels_and_map"]:
    """A convolution; if it is 1x1, its gradients are matrix products.

    Takes the place of `conv_general_dilated` in `flax.linen.Conv`. Convolutions with a
    larger window, padding, dilation, groups, or axes in another order keep the
    gradients of `jax.lax.conv_general_dilated`.

    Args:
      x: map.
      kernel: weights.
      strides: stride along every axis of the map.
      padding: numbers of zeros before and after every axis of the map.
      products: Whether gradients are matrix products; None for those of at least 2^22
        multiplications where the default backend is the CPU.
      **options: other options of `jax.lax.conv_general_dilated`.

    Returns:
      The map, the same to the bit as that of `jax.lax.conv_general_dilated`.

    >>> import jax.numpy as jnp
    >>> x, numbers = jnp.ones((1, 4, 4, 2)), ("NHWC", "HWIO", "NHWC")
    >>> def total(kernel):
    ...     options = {"dimension_numbers": numbers, "products": True}
    ...     return pointwise_conv(x, kernel, (2, 2), "VALID", **options).sum()
    >>> jax.grad(total)(jnp.ones((1, 1, 2, 3))).ravel().tolist()
    [4.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    """

    def convolve(x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, **options)

    if products is None:
        large = multiplications(x, kernel, strides) >= _LEAST
        products = large and jax.default_backend() == "cpu"
    if not products or not _is_pointwise(x, kernel, padding, options):
        return convolve(x, kernel)
    accumulation = {k: options.get(k) for k in ("precision", "preferred_element_type")}
    multiply = partial(_product, strides=strides, **accumulation)
    return with_derivatives(convolve, by_input=multiply, by_kernel=multiply)(x, kernel)


def _is_pointwise(
    x: Array,
    kernel: Array,
    padding: str | Sequence[tuple[int, int]],
    options: Mapping[str, Any],
) -> bool:
    """Whether every output is the product of one position's channels and the kernel."""
    return (
        channels_last(x, kernel, options)
        and options.get("feature_group_count", 1) == 1
        and set(kernel.shape[:-2]) <= {1}
        and (isinstance(padding, str) or not any(map(any, padding)))
    )


def _product(
    x: Float[Array, "batch *map inputs"],
    kernel: Float[Array, "*window inputs outputs"],
    *,
    strides: Sequence[int],
    precision: Any,
    preferred_element_type: Any,
) -> Float[Array, "batch *new_map outputs"]:
    """The positions that a 1x1 convolution reads, times the kernel."""
    inputs, outputs = kernel.shape[-2:]
    read = lax.slice(x, [0] * x.ndim, x.shape, (1, *strides, 1))
    matrix, side = kernel.reshape(inputs, outputs), 0
    if inputs > outputs:
        # The gradient of the kernel is computed as the larger matrix by the smaller
        # one. The barrier keeps XLA from exchanging them, which takes twice as long.
        matrix, side = lax.optimization_barrier(matrix.T), 1
    product = lax.dot_general(
        read.reshape(-1, inputs),
        matrix,
        (((1,), (side,)), ((), ())),
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    return product.reshape(*read.shape[:-1], outputs)
