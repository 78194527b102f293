"""Exact sums of products of many short vectors, in as many loops as of one.

The vectors stand one after another in a single array, each from the start of a block:
a block belongs to one of them.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, UInt32

from dst_jax.jaxprs.exact_integers import BITS, CHUNK, LIMBS, MASK, Count
from dst_jax.jaxprs.short_sums import SHORT, short_sum

__all__ = ["LONGEST", "Segments", "rows", "segment_products"]

# Elements of one segment whose products are added without a carry.
LONGEST = CHUNK
BLOCK = 64


@dataclasses.dataclass(frozen=True)
class Segments:
    """The places of vectors in one array.

    Attributes:
      sizes: lengths of the vectors, at most `LONGEST` each.

    >>> Segments((3, 70)).total
    192
    """

    sizes: tuple[int, ...]

    @functools.cached_property
    def blocks(self) -> tuple[int, ...]:
        """The number of blocks of each vector.

        >>> Segments((3, 70)).blocks
        (1, 2)
        """
        return tuple(max(1, -(-size // BLOCK)) for size in self.sizes)

    @property
    def total(self) -> int:
        """The length of the array; blocks at its end may belong to no vector.

        >>> Segments((64,) * 33).total // 64
        34
        """
        return BLOCK * _divisible(sum(self.blocks))

    def join(self, vectors: Sequence[Array]) -> UInt32[Array, "total"]:
        """The vectors in one array, with zeros and ones between them.

        Args:
          vectors: float32 or uint32, with integers below 2^32. Those of one dtype that
            follow each other are converted at once.

        >>> joined = Segments((2, 1)).join([jnp.arange(2.0), jnp.ones(1)])
        >>> joined[:2].tolist(), joined[64].tolist()
        ([0, 1], 1)
        """
        pieces = [
            piece
            for vector, blocks in zip(vectors, self.blocks, strict=True)
            for piece in (vector, _spare(BLOCK * blocks - vector.size, vector.dtype))
        ]
        pieces.append(_spare(self.total - BLOCK * sum(self.blocks), pieces[-1].dtype))
        parts = itertools.groupby(pieces, lambda piece: piece.dtype)
        return _concatenated(
            [_concatenated([*part]).astype(jnp.uint32) for _, part in parts]
        )

    def spread(self, values: Sequence[Sequence[int]]) -> UInt32[np.ndarray, "total"]:
        """Integers in the places of the vectors, each repeated to fill its vector.

        >>> Segments((4,)).spread([[1, 2]])[:5].tolist()
        [1, 1, 2, 2, 0]
        """
        array = np.zeros(self.total, np.uint32)
        starts = itertools.accumulate(self.blocks, initial=0)
        for start, size, row in zip(starts, self.sizes, values, strict=False):
            place = slice(start * BLOCK, start * BLOCK + size)
            array[place] = np.repeat(np.array(row, np.uint32), size // max(1, len(row)))
        return array

    @property
    def members(self) -> Bool[np.ndarray, "segment block"]:
        """Whether a block belongs to a vector.

        >>> Segments((3, 70)).members.astype(int).tolist()
        [[1, 0, 0], [0, 1, 1]]
        """
        owners = np.repeat(np.arange(len(self.blocks)), self.blocks)
        spare = self.total // BLOCK - owners.size
        owners = np.concatenate([owners, np.full(spare, -1)])
        return owners == np.arange(len(self.blocks))[:, None]


def segment_products(
    a: UInt32[Array, "row total"],
    b: UInt32[Array, "row total"],
    segments: Segments,
    *,
    max_a: int,
    max_b: int,
) -> UInt32[Array, "row segment 6"]:
    """`exact_integers.sum_products` of every segment of every row.

    Args:
      a, b: uint32; of each product one factor is zero outside of the segments.
      segments: places of the vectors.
      max_a, max_b: upper bounds of the elements, below 2^32.

    >>> from dst_jax.jaxprs.exact_integers import Count
    >>> segments = Segments((2, 1))
    >>> x = segments.join([jnp.array([2.0, 3.0]), jnp.array([4.0])])[None]
    >>> ones = jnp.asarray(segments.spread([[1], [1]])[None])
    >>> Count(segment_products(x, ones, segments, max_a=4, max_b=1))
    Count([[5, 4]])
    """
    low = _limbs(a, max_a)[:, :, None, None]
    high = _limbs(b, max_b)[:, None, :, None]
    halves = np.array([0, BITS], np.uint32).reshape(1, 1, 1, 2, 1, 1)
    products = short_sum(low * high >> halves & np.uint32(MASK), [5])
    # Half h of the product of limbs i and j is at position i + j + h.
    _, n_low, n_high, *_ = products.shape
    position = np.arange(n_low)[:, None, None] + np.arange(n_high)[:, None] + [0, 1]
    here = position == np.arange(LIMBS)[:, None, None, None]
    limbs = jnp.where(here[None, ..., None], products[:, None], np.uint32(0))
    limbs = jax.lax.reduce_sum(limbs, [2, 3, 4])
    members = segments.members[None, :, None]
    limbs = short_sum(jnp.where(members, limbs[:, None], np.uint32(0)), [3])
    return Count(limbs).carried().limbs


def rows(table: UInt32[Array, "row *rest"]) -> list[UInt32[Array, "*rest"]]:
    """The rows of a table, each by the same operations, which XLA compiles once.

    >>> [row.tolist() for row in rows(jnp.arange(4, dtype=jnp.uint32).reshape(2, 2))]
    [[0, 1], [2, 3]]
    """
    n, *rest = table.shape
    places = _divisible(n)
    fill = np.zeros((places - n, *rest), table.dtype)
    table = _concatenated([table, fill]) if places > n else table
    return [
        short_sum(jnp.where(place, table, np.uint32(0)), [0])
        for place in np.eye(n, places, dtype=bool).reshape(n, places, *[1] * len(rest))
    ]


def _limbs(
    x: UInt32[Array, "row n"], largest: int
) -> UInt32[Array, "row limb block element"]:
    n = max(1, -(-largest.bit_length() // BITS))
    shifts = np.arange(0, n * BITS, BITS, dtype=np.uint32).reshape(1, n, 1, 1)
    blocks = jax.lax.reshape(x, (x.shape[0], 1, x.shape[1] // BLOCK, BLOCK))
    return blocks >> shifts & np.uint32(MASK)


def _spare(size: int, dtype: np.dtype) -> np.ndarray:
    # Not zeros alone: XLA would compile a loop that writes them.
    return np.arange(size, dtype=dtype) % dtype.type(2)


def _concatenated(pieces: Sequence[Array | np.ndarray]) -> Array:
    pieces = [piece for piece in pieces if piece.size] or pieces[:1]
    return jax.lax.concatenate(pieces, 0)


def _divisible(n: int) -> int:
    """The least number from `n` on that is 2^k times a number of at most `SHORT`."""
    step = 1
    while -(-n // step) > SHORT:
        step *= 2
    return -(-n // step) * step
