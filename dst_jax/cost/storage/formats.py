"""Bits that an array takes in each storage format, from the mask of its nonzeros.

Every function is exact and pure: it takes the mask of nonzero elements, of any rank,
and returns a `Count` of bits. `int(bits)` is the integer on the host, `bits.as_float()`
a float32 for arithmetic on the device. Elements are stored in row-major order; a
matrix format takes the last axis as columns and all others as rows. A width that is
not given is the smallest that holds every possible entry.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from dst_jax.cost.storage.layouts import (
    bits,
    check,
    entries,
    groups,
    lines,
    ones,
    tiles,
    width,
)
from dst_jax.jaxprs.exact_integers import Count

__all__ = [
    "bitmask",
    "coo",
    "csc",
    "csr",
    "dense",
    "fits_n_m",
    "n_m",
    "nonzeros",
    "run_length",
    "two_level_bitmask",
    "zvc",
]


def nonzeros(mask: Bool[Array, "..."]) -> Count:
    """The number of nonzero elements.

    >>> nonzeros(jnp.array([True, False, True]))
    Count(2)
    """
    check(mask)
    return bits(0, (ones(mask), 1))


def dense(mask: Bool[Array, "..."], *, value_bits: int) -> Count:
    """Every element, zeros included: `n * value_bits`.

    >>> dense(jnp.zeros((2, 3), bool), value_bits=8)
    Count(48)
    """
    check(mask, value_bits=value_bits)
    return bits(mask.size * value_bits)


def bitmask(mask: Bool[Array, "..."], *, value_bits: int) -> Count:
    """One bit per element, and the nonzero values: `n + nnz * value_bits`.

    >>> bitmask(jnp.array([True, False, False, True]), value_bits=8)
    Count(20)
    """
    check(mask, value_bits=value_bits)
    return bits(mask.size, (ones(mask), value_bits))


def zvc(mask: Bool[Array, "..."], *, value_bits: int, word: int = 32) -> Count:
    """Zero-value compression: a bitmask in whole words, each before its values.

    `word * ceil(n / word) + nnz * value_bits`.

    Args:
      mask: mask of nonzero elements.
      value_bits: bits of a value.
      word: number of bits of the bitmask that are stored together.

    Reference:
      Rhu et al. 2018 (HPCA), a DMA engine that compresses activations.

    >>> zvc(jnp.array([True, False, False, True]), value_bits=8)
    Count(48)
    """
    check(mask, value_bits=value_bits, word=word)
    return bits(-(-mask.size // word) * word, (ones(mask), value_bits))


def two_level_bitmask(
    mask: Bool[Array, "..."], *, value_bits: int, tile: int | tuple[int, ...]
) -> Count:
    """A bit per tile, a bitmask of every tile that is not empty, and the values.

    `tiles + nonempty * size(tile) + nnz * value_bits`. A tile that extends beyond the
    edge is stored in full.

    Args:
      mask: mask of nonzero elements.
      value_bits: bits of a value.
      tile: shape of a tile over the last axes; an int is a number of consecutive
        elements of the flat array.

    Raises:
      ValueError: a tile with more axes than the array, or an empty one.

    Reference:
      Wang et al. 2021 (ISCA), the dual-side sparse tensor core.

    >>> two_level_bitmask(jnp.arange(8) == 1, value_bits=16, tile=4)
    Count(22)
    """
    shape = (tile,) if isinstance(tile, int) else tile
    view = mask.reshape(-1) if isinstance(tile, int) else mask
    check(mask, value_bits=value_bits, tile=min(shape, default=0))
    if len(shape) > view.ndim:
        raise ValueError(
            f"tile must have at most the {view.ndim} axes of the mask, got {tile}"
        )
    occupied = tiles(view, shape)
    parts = (ones(occupied), math.prod(shape)), (ones(mask), value_bits)
    return bits(occupied.size, *parts)


def coo(mask: Bool[Array, "..."], *, value_bits: int) -> Count:
    """Coordinate list: `nnz * (value_bits + sum_i ceil(log2 shape_i))`.

    >>> coo(jnp.eye(4, dtype=bool), value_bits=8)
    Count(48)
    """
    check(mask, value_bits=value_bits)
    coordinate = sum(width(size) for size in mask.shape)
    return bits(0, (ones(mask), value_bits + coordinate))


def csr(
    mask: Bool[Array, "..."],
    *,
    value_bits: int,
    index_bits: int | None = None,
    pointer_bits: int | None = None,
) -> Count:
    """Compressed sparse rows: `nnz * (value + index) + (rows + 1) * pointer`.

    `csr(mask.T)` gives compressed sparse columns.

    Args:
      mask: mask of nonzero elements; the last axis holds columns.
      value_bits: bits of a value.
      index_bits: bits of a column's number; by default ceil(log2 columns).
      pointer_bits: bits of the start of a row; by default ceil(log2 (n + 1)).

    >>> csr(jnp.eye(4, dtype=bool), value_bits=8)
    Count(65)
    """
    rows, columns = lines(mask).shape
    index_bits = width(columns) if index_bits is None else index_bits
    pointer_bits = width(mask.size + 1) if pointer_bits is None else pointer_bits
    check(mask, value_bits=value_bits)
    entry = value_bits + index_bits
    return bits((rows + 1) * pointer_bits, (ones(mask), entry))


def csc(
    mask: Bool[Array, "..."],
    *,
    value_bits: int,
    run_bits: int = 4,
    pointer_bits: int | None = None,
) -> Count:
    """Run lengths that start again in every row, and a pointer to each row.

    `entries * (value_bits + run_bits) + (rows + 1) * pointer_bits`: the "CSC" of EIE
    and Eyeriss v2. Its columns are the weights of one input, which is the last axis of
    a kernel (inputs, outputs). Entries are counted as in `run_length`.

    Args:
      mask: mask of nonzero elements; the last axis is one compressed line.
      value_bits: bits of a value.
      run_bits: bits of the number of zeros before a value.
      pointer_bits: bits of the start of a line; by default ceil(log2 (n + 1)).

    Reference:
      Han et al. 2016 (arXiv 1602.01528), section III; Chen et al. 2019 (JETCAS).

    >>> csc(jnp.eye(4, dtype=bool), value_bits=8)
    Count(73)
    """
    check(mask, value_bits=value_bits, run_bits=run_bits)
    matrix = lines(mask)
    pointer_bits = width(mask.size + 1) if pointer_bits is None else pointer_bits
    pairs = entries(matrix, run_bits), value_bits + run_bits
    return bits((len(matrix) + 1) * pointer_bits, pairs)


def run_length(mask: Bool[Array, "..."], *, value_bits: int, run_bits: int) -> Count:
    """Pairs of a run of zeros and the value after it.

    `entries * (value_bits + run_bits)`. A run holds at most 2^run_bits - 1 zeros; a
    longer one is split by fillers, which are entries with a zero as value:

        entries = nnz + sum over nonzeros of floor(zeros before it / 2^run_bits)

    Zeros after the last nonzero are not stored: their number follows from the shape.

    Args:
      mask: mask of nonzero elements.
      value_bits: bits of a value.
      run_bits: bits of a run; 5 in Eyeriss, 4 in EIE and SCNN.

    >>> run_length(jnp.array([True, False, False, True]), value_bits=8, run_bits=1)
    Count(27)
    """
    check(mask, value_bits=value_bits, run_bits=run_bits)
    return bits(0, (entries(mask.reshape(1, -1), run_bits), value_bits + run_bits))


def n_m(
    mask: Bool[Array, "..."],
    *,
    value_bits: int,
    n: int = 2,
    m: int = 4,
    axis: int = -1,
    index_bits: int | None = None,
) -> Count:
    """N:M blocks: for every m elements, n values and their positions.

    `groups * n * (value_bits + index_bits)` for any number of zeros; the last group is
    padded. An array with a group of more than n nonzeros does not fit (`fits_n_m`), and
    is stored dense: `size * value_bits`.

    Args:
      mask: mask of nonzero elements.
      value_bits: bits of a value.
      n, m: pattern: at most n of m elements are nonzero.
      axis: axis along which groups are formed: the channels that a product sums over.
      index_bits: bits of a position in the group; by default ceil(log2 m).

    Raises:
      ValueError: `n` is not in [1, m].

    >>> n_m(jnp.array([True, False, False, True]), value_bits=16)
    Count(36)
    >>> n_m(jnp.array([True, False, True, True]), value_bits=16)
    Count(64)
    """
    check(mask, value_bits=value_bits)
    index_bits = width(m) if index_bits is None else index_bits
    fits = fits_n_m(mask, n=n, m=m, axis=axis)
    stored = n * len(groups(mask, m, axis))
    packed = bits(stored * (value_bits + index_bits))
    full = bits(mask.size * value_bits)
    return jax.tree.map(lambda a, b: jnp.where(fits, a, b), packed, full)


def fits_n_m(
    mask: Bool[Array, "..."], *, n: int = 2, m: int = 4, axis: int = -1
) -> Bool[Array, ""]:
    """Whether no group of m elements along `axis` has more than n nonzeros.

    Raises:
      ValueError: `n` is not in [1, m].

    >>> bool(fits_n_m(jnp.array([True, False, True, True])))
    False
    """
    if not 1 <= n <= m:
        raise ValueError(f"n must be in [1, m] with m = {m}, got {n}")
    check(mask)
    return (groups(mask, m, axis).sum(-1) <= n).all()
