"""Parts of a mask that the storage formats need: lines, tiles, groups, runs."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int32, UInt32

from dst_jax.cost.counting import factors
from dst_jax.jaxprs.exact_integers import Count, sum_products

LARGEST = 2**31 - 1  # positions are int32


def check(mask: Array, **positive: int) -> None:
    """Refuses an array that is no mask, and widths and sizes below 1.

    >>> check(jnp.ones(3, bool), value_bits=0)
    Traceback (most recent call last):
    ValueError: value_bits must be an integer >= 1, got 0
    """
    if mask.dtype != jnp.bool_:
        raise TypeError(
            f"mask must be bool, got {mask.dtype}: compare the array with 0 first"
        )
    if mask.size > LARGEST:
        raise ValueError(
            f"mask must have at most {LARGEST} elements, got {mask.size}: split it"
        )
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name} must be an integer >= 1, got {value}")


def bits(fixed: int, *parts: tuple[UInt32[Array, ""], int]) -> Count:
    """The exact `fixed + sum over parts of count * width`.

    >>> bits(10, (jnp.uint32(3), 8))
    Count(34)
    """
    if not parts:
        return Count.of(fixed)
    counts = jnp.stack([count for count, _ in parts])
    widths = [width for _, width in parts]
    limbs = sum_products(
        counts,
        jnp.array(widths, jnp.uint32),
        max_a=LARGEST,
        max_b=max(widths),
    )
    return Count(limbs) + fixed


def ones(mask: Bool[Array, "..."]) -> UInt32[Array, ""]:
    """The number of true elements.

    >>> int(ones(jnp.array([[True, False], [True, True]])))
    3
    """
    return factors.nonzeros(mask.reshape(-1), (0,))


def width(values: int) -> int:
    """The number of bits that distinguish `values` values: ceil(log2 values).

    >>> width(1), width(4), width(5)
    (0, 2, 3)
    """
    return max(values - 1, 0).bit_length()


def lines(mask: Bool[Array, "..."]) -> Bool[Array, "rows columns"]:
    """The mask as a matrix: all other axes are rows, the last one is columns.

    >>> lines(jnp.ones((2, 3, 4), bool)).shape
    (6, 4)
    """
    columns = mask.shape[-1] if mask.ndim else 1
    return mask.reshape(math.prod(mask.shape[:-1]), columns)


def tiles(mask: Bool[Array, "..."], shape: tuple[int, ...]) -> Bool[Array, "..."]:
    """Whether each tile of the last axes holds a nonzero; tiles at the edge are padded.

    >>> tiles(jnp.array([True, False, False, False, False]), (2,)).tolist()
    [True, False, False]
    """
    first = mask.ndim - len(shape)
    padding = [(0, 0)] * first
    padding += [(0, -mask.shape[first + i] % side) for i, side in enumerate(shape)]
    mask = jnp.pad(mask, padding)
    split = list(mask.shape[:first])
    for i, side in enumerate(shape):
        split += [mask.shape[first + i] // side, side]
    inside = tuple(range(first + 1, first + 2 * len(shape), 2))
    return mask.reshape(split).any(inside)


def groups(mask: Bool[Array, "..."], size: int, axis: int) -> Bool[Array, "groups m"]:
    """Groups of `size` elements along one axis; the last group is padded.

    >>> groups(jnp.array([True, False, True]), 2, 0).tolist()
    [[True, False], [True, False]]
    """
    mask = jnp.moveaxis(mask, axis, -1)
    padding = [(0, 0)] * (mask.ndim - 1) + [(0, -mask.shape[-1] % size)]
    mask = jnp.pad(mask, padding)
    return mask.reshape(mask.size // size, size)


def entries(mask: Bool[Array, "rows columns"], run_bits: int) -> UInt32[Array, ""]:
    """Entries of run-length coded rows: nonzeros, and fillers of long runs.

    >>> int(entries(jnp.array([[False, False, True], [False, False, False]]), 1))
    2
    """
    return ones(mask) + jnp.sum(
        jnp.where(mask, _zeros_before(mask) >> run_bits, 0), dtype=jnp.uint32
    )


def _zeros_before(mask: Bool[Array, "rows columns"]) -> Int32[Array, "rows columns"]:
    """The number of zeros since the previous nonzero in the row, at every nonzero."""
    index = jnp.arange(mask.shape[1], dtype=jnp.int32)
    if mask.size == 0:
        return jnp.zeros(mask.shape, jnp.int32)
    at = jnp.where(mask, index[None, :], -1)
    latest = jax.lax.cummax(at, axis=1)
    previous = jnp.pad(latest[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
    return index[None, :] - 1 - previous
