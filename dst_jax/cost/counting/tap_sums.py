"""What the taps of a convolution read, summed by products with 0/1 matrices.

XLA compiles a matrix product far faster than a slice and a sum for every tap. A large
image is taken in tiles, one after another, so that it is never held as integers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array

__all__ = ["Ranges", "tap_sums"]

Ranges = tuple[tuple[range, ...], ...]
"""Elements that each tap reads, per spatial axis."""

# Elements of a matrix that says which element of an image each tap reads.
LARGEST_MATRIX = 1 << 18

# Elements of an image, with all its channels, that are held as integers at a time.
LARGEST_TILE = 1 << 25


def tap_sums(
    x: Array,
    counted: Callable[[Array], Array],
    ranges: Ranges,
    *,
    axis: int,
    sizes: Sequence[int],
    elements: int,
    dtype: DTypeLike,
) -> Array:
    """The sums of an image's counts over the elements that each tap reads.

    Args:
      x: input of the convolution.
      counted: function of `x`, or of a part of it along `axis`, that returns counts in
        (group, *spatial, channel).
      ranges: elements that every tap reads, per spatial axis.
      axis: first spatial axis of `x`.
      sizes: sizes of all spatial axes.
      elements: number of elements of an image with all its channels.
      dtype: dtype of the counts, float32 or uint32, which must hold their sums.

    Returns:
      Sums in (*taps, group, channel), axes of the window together.

    >>> import jax.numpy as jnp
    >>> image, ranges = jnp.array([[1.0], [0.0], [1.0]]), ((range(2), range(1, 3)),)
    >>> options = {"axis": 0, "sizes": (3,), "elements": 3, "dtype": jnp.float32}
    >>> tap_sums(image, lambda x: x[None], ranges, **options).ravel().tolist()
    [1.0, 1.0]
    """
    matrices = [_reads(*pair, dtype) for pair in zip(ranges, sizes, strict=True)]
    tiles = min(-(-elements // LARGEST_TILE), sizes[0])
    spec: Any = jax.typeof(x).sharding.spec
    if tiles <= 1 or any(spec):
        return _product(_together(matrices), counted(x))
    rows = -(-sizes[0] // tiles)
    first, others = matrices[0], _together(matrices[1:])

    def of_tile(tile: tuple[Array, Array]) -> Array:
        start, reads = tile
        part = jax.lax.dynamic_slice_in_dim(x, start, rows, axis)
        return _product([reads, *others], counted(part))

    return jax.lax.map(of_tile, _tiles(first, rows)).sum(0, dtype=dtype)


def _tiles(reads: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """The first element of every tile, and which of its elements each tap reads.

    The last tile is as long as the others; what it has in common is the other's.
    """
    size = reads.shape[1]
    starts, parts = [], []
    for begin in range(0, size, rows):
        start = min(begin, size - rows)
        part = reads[:, start : start + rows].copy()
        part[:, : begin - start] = 0
        starts.append(start)
        parts.append(part)
    return np.array(starts, np.int32), np.stack(parts)


def _product(matrices: Sequence[Array | np.ndarray], counts: Array) -> Array:
    """Replaces the spatial axes of (group, *spatial, channel) by taps, in front."""
    sizes = [matrix.shape[1] for matrix in matrices]
    counts = counts.reshape(counts.shape[0], *sizes, counts.shape[-1])
    axis = len(matrices)
    for matrix in reversed(matrices):
        counts = jax.lax.dot_general(
            matrix,
            counts,
            (((1,), (axis,)), ((), ())),
            precision=jax.lax.Precision.HIGHEST,
            preferred_element_type=counts.dtype,
        )
    return counts


def _reads(reads: Sequence[range], size: int, dtype: DTypeLike) -> np.ndarray:
    """Whether a tap (row) reads an element (column)."""
    matrix = np.zeros((len(reads), size), dtype)
    for row, read in zip(matrix, reads, strict=True):
        row[read.start : read.stop : read.step] = 1
    return matrix


def _together(matrices: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The matrices of axes that follow each other as one where that is small."""
    found: list[np.ndarray] = []
    for matrix in matrices:
        if found and found[-1].size * matrix.size <= LARGEST_MATRIX:
            found[-1] = np.kron(found[-1], matrix)
        else:
            found.append(matrix)
    return found
