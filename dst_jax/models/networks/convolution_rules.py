"""Convolutions that compute their derivatives by other operations."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

__all__ = [
    "channels_last",
    "multiplications",
    "windows",
    "with_derivatives",
]

_Convolution = Callable[[Array, Array], Array]


def with_derivatives(
    convolve: _Convolution,
    *,
    by_input: _Convolution,
    by_kernel: _Convolution,
    value: _Convolution | None = None,
) -> _Convolution:
    """A function like `convolve`, with these derivatives.

    Args:
      convolve: function of a map and a kernel, linear in each.
      by_input: the same function, as it is derived by the map.
      by_kernel: the same, as it is derived by the kernel.
      value: the same, as it is computed where it is derived; `convolve` by default.

    >>> rules = {"by_input": jnp.multiply, "by_kernel": lambda x, k: 2 * x * k}
    >>> product = with_derivatives(jnp.multiply, **rules)
    >>> operands = jnp.array(3.0), jnp.array(5.0)
    >>> [g.item() for g in jax.grad(product, argnums=(0, 1))(*operands)]
    [5.0, 6.0]
    """
    whole = jax.custom_jvp(convolve)

    def derivative(
        primals: tuple[Array, Array],
        tangents: tuple[Array | SymbolicZero, Array | SymbolicZero],
    ) -> tuple[Array, Array]:
        x, kernel = primals
        y, terms = (value or whole)(x, kernel), []
        if not isinstance(tangents[0], SymbolicZero):
            terms.append(by_input(tangents[0], kernel))
        if not isinstance(tangents[1], SymbolicZero):
            terms.append(by_kernel(x, tangents[1]))
        return y, reduce(jnp.add, terms) if terms else jnp.zeros_like(y)

    whole.defjvp(derivative, symbolic_zeros=True)
    return whole


def channels_last(x: Array, kernel: Array, options: Mapping[str, Any]) -> bool:
    """Whether maps and kernel have their channels last, and nothing is dilated.

    Args:
      x: map.
      kernel: weights.
      options: options of `jax.lax.conv_general_dilated`.

    >>> x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
    >>> channels_last(x, kernel, {"dimension_numbers": ("NHWC", "HWIO", "NHWC")})
    True
    >>> channels_last(x, kernel, {"dimension_numbers": ("NHWC", "HWIO", "NCHW")})
    False
    """
    numbers = lax.conv_dimension_numbers(
        x.shape, kernel.shape, options.get("dimension_numbers")
    )
    channel = x.ndim - 1
    of_map = (0, channel, *range(1, channel))
    of_kernel = (channel, channel - 1, *range(channel - 1))
    dilations = [options.get(f"{side}_dilation") or () for side in ("lhs", "rhs")]
    return numbers == lax.ConvDimensionNumbers(of_map, of_kernel, of_map) and {
        *dilations[0],
        *dilations[1],
        options.get("batch_group_count", 1),
    } == {1}


def multiplications(x: Array, kernel: Array, strides: Sequence[int]) -> int:
    """The multiplications of a convolution whose padding keeps the map's size.

    0 where a size is symbolic: such a program is exported and not trained.

    Args:
      x: map, channels last.
      kernel: weights, channels last.
      strides: stride along every axis of the map.

    >>> multiplications(jnp.ones((2, 8, 8, 3)), jnp.ones((3, 3, 3, 5)), (2, 2))
    4320
    """
    if not all(isinstance(n, int) for n in x.shape):
        return 0
    positions = (-(-n // s) for n, s in zip(x.shape[1:-1], strides, strict=True))
    return math.prod((*x.shape[:1], *positions, *kernel.shape))


def windows(
    x: Float[Array, "batch *map channels"],
    kernel: Float[Array, "*window inputs outputs"],
    strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
) -> Iterator[Float[Array, "batch *new_map channels"]]:
    """What every place of a kernel's window reads of a map, place by place.

    Args:
      x: map, channels last.
      kernel: weights, channels last.
      strides: stride along every axis of the map.
      padding: numbers of zeros before and after every axis of the map.

    >>> x = jnp.arange(3.0).reshape(1, 3, 1)
    >>> parts = windows(x, jnp.ones((2, 1, 1)), (1,), "VALID")
    >>> [part.ravel().tolist() for part in parts]
    [[0.0, 1.0], [1.0, 2.0]]
    """
    window = kernel.shape[:-2]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:-1], window, strides, padding)
    pads = [(0, 0, 0), *((low, high, 0) for low, high in padding), (0, 0, 0)]
    padded = lax.pad(x, jnp.zeros((), x.dtype), pads)
    steps = (1, *strides, 1)
    sizes = np.subtract(padded.shape[1:-1], window) // strides * strides + 1
    for place in product(*map(range, window)):
        ends = (first + size for first, size in zip(place, sizes, strict=True))
        end = (len(x), *ends, x.shape[-1])
        yield lax.slice(padded, (0, *place, 0), end, steps)
