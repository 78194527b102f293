"""Pooling with PyTorch's windows."""

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

__all__ = ["adaptive_mean_pool", "max_pool", "max_pooling", "mean_pooling"]


def max_pool(
    x: Float[Array, "batch height width channels"],
    size: int,
    *,
    stride: int,
    padding: int = 0,
    ceil: bool = False,
) -> Float[Array, "batch new_height new_width channels"]:
    """The maximum over windows, padded with -inf on every side.

    Args:
      x: map.
      size: height and width of a window.
      stride: stride in both directions.
      padding: number of rows and columns of -inf on every side.
      ceil: Whether a window that begins inside the map may end beyond it (PyTorch's
        `ceil_mode`).

    >>> x = jnp.arange(4.0).reshape(1, 4, 1, 1).repeat(4, 2)
    >>> max_pool(x, 3, stride=2).shape, max_pool(x, 3, stride=2, ceil=True).shape
    ((1, 1, 1, 1), (1, 2, 2, 1))
    """

    def pads(length: int) -> tuple[int, int]:
        # The last window begins at the last multiple of the stride inside the map.
        last = (length + padding - 1) // stride * stride
        end = min(last, -(-(length + 2 * padding - size) // stride) * stride) + size
        return padding, max(padding, end - padding - length) if ceil else padding

    both: Any = (pads(x.shape[1]), pads(x.shape[2]))  # Flax annotates only strings
    disjoint = size == stride and both == ((0, 0), (0, 0))
    if disjoint or jax.default_backend() == "cpu":
        return _max_of_slices(x, size, stride, both)
    return nn.max_pool(x, (size, size), (stride, stride), both)


@partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _max_of_slices(x: Array, size: int, stride: int, padding: Any) -> Array:
    """`nn.max_pool` with a derivative of its own.

    The derivative is the same (of equal elements the first is the maximum), but its
    transpose selects among slices, which is many times faster than XLA's scatter on
    CPUs, and not slower elsewhere if windows are disjoint.
    """
    return nn.max_pool(x, (size, size), (stride, stride), padding)


@_max_of_slices.defjvp
def _max_of_slices_jvp(
    size: int,
    stride: int,
    padding: Any,
    primals: tuple[Array],
    tangents: tuple[Array],
) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    slices = partial(_slices, size=size, stride=stride, padding=padding)
    return reduce(_larger, zip(slices(x, -jnp.inf), slices(dx, 0.0), strict=True))


def _slices(
    x: Array, outside: float, *, size: int, stride: int, padding: Any
) -> list[Array]:
    """The elements of all windows, by place in the window."""
    value = jnp.asarray(outside, x.dtype)
    whole = lax.pad(x, value, [(0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)])
    batch, *lengths, channels = whole.shape
    ends = [(length - size) // stride * stride + 1 for length in lengths]
    return [
        lax.slice(
            whole,
            (0, i, j, 0),
            (batch, i + ends[0], j + ends[1], channels),
            (1, stride, stride, 1),
        )
        for i in range(size)
        for j in range(size)
    ]


def _larger(best: tuple[Array, Array], new: tuple[Array, Array]) -> tuple[Array, Array]:
    taken = (new[0] > best[0]) | jnp.isnan(new[0])
    return jnp.where(taken, new[0], best[0]), jnp.where(taken, new[1], best[1])


def max_pooling(
    size: int, *, name: str, stride: int, padding: int = 0
) -> Callable[[Array], Array]:
    """`max_pool` as a step of a `Chain`; its name is not used.

    >>> max_pooling(2, name="pool", stride=2)(jnp.ones((1, 4, 4, 1))).shape
    (1, 2, 2, 1)
    """
    del name
    return partial(max_pool, size=size, stride=stride, padding=padding)


def mean_pooling(size: int, *, name: str) -> Callable[[Array], Array]:
    """The mean over disjoint windows, as a step of a `Chain`.

    Rows and columns that do not fill a window are left out.

    >>> mean_pooling(2, name="pool")(jnp.arange(4.0).reshape(1, 2, 2, 1)).tolist()
    [[[[1.5]]]]
    """
    del name
    window = (size, size)
    return partial(nn.avg_pool, window_shape=window, strides=window)


def adaptive_mean_pool(
    x: Float[Array, "batch height width channels"], size: int
) -> Float[Array, "batch size size channels"]:
    """The mean over `size` x `size` windows that cover the map.

    As in PyTorch, window i of n reaches from floor(i * length / n) to
    ceil((i + 1) * length / n). Windows overlap, or repeat, where n does not divide the
    length.

    >>> x = jnp.array([1.0, 2.0, 6.0]).reshape(1, 3, 1, 1).repeat(3, 2)
    >>> adaptive_mean_pool(x, 2)[0, :, 0, 0].tolist()
    [1.5, 4.0]
    """
    for axis in (1, 2):
        length = x.shape[axis]
        if length == size:
            continue
        windows = [
            (i * length // size, -(-(i + 1) * length // size)) for i in range(size)
        ]
        parts = [jax.lax.slice_in_dim(x, a, b, axis=axis) for a, b in windows]
        x = jnp.stack([part.mean(axis) for part in parts], axis)
    return x
