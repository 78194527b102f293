"""Zeros that neighbours share: what hardware that skips whole tiles can skip."""

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from dst_jax.activations.statistics import check_filled

__all__ = ["tiles_of", "union_counts", "union_sparsity"]

Tile = int | Sequence[int]


def union_sparsity(
    activations: Mapping[str, Array | np.ndarray], tile: Tile
) -> OrderedDict[str, Float[Array, ""]]:
    """By map, the share of units that are zero at all positions of a tile.

        U = tiles whose elements are all zero / tiles,

    over the tiles of every channel and every example. Tiles do not overlap; those at
    the end of an axis hold what is left of it. A tile of one position gives the usual
    sparsity; the difference says how much of it is scattered, so that a vector unit, or
    one that skips rows for several tokens at once, cannot use it.

    Args:
      activations: maps (batch, *positions, channels) by name.
      tile: number of neighbouring positions along each axis between batch and channels:
        tokens, or rows and columns of pixels. An integer holds for every such axis. A
        map without positions, (batch, channels), has tiles of one element.

    Returns:
      Float32 shares by name. For exact counts over a set, sum `union_counts`.

    Raises:
      ValueError: there are no maps, a map is empty, a size is below 1, or a map has
        another number of axes between batch and channels than `tile` has sizes.

    Reference:
      Chunk-level sparsity of BlockFFN (Song et al. 2025, arXiv 2507.08771): 8 tokens.

    >>> tokens = jnp.array([[[0, 0], [0, 1], [1, 0], [0, 0]]])
    >>> {k: float(union_sparsity({"ffn": tokens}, k)["ffn"]) for k in (1, 2, 4)}
    {1: 0.75, 2: 0.5, 4: 0.0}
    """
    if not activations:
        raise ValueError("activations is empty: there are no maps")
    return OrderedDict(
        (name, zeros.astype(jnp.float32).mean() / tiles_of(activations[name], tile))
        for name, zeros in union_counts(activations, tile).items()
    )


def union_counts(
    activations: Mapping[str, Array | np.ndarray], tile: Tile
) -> OrderedDict[str, Int[Array, "batch"]]:
    """The exact number of tiles that are zero in every map, for each example.

    Args:
      activations, tile: maps and tile as in `union_sparsity`.

    Returns:
      int32 arrays (batch,) by name; `tiles_of` says how many tiles an example has.

    Raises:
      ValueError: as `union_sparsity`, but no maps give no counts.

    >>> maps = {"relu": jnp.zeros((1, 3, 3, 1)).at[0, 0, 0].set(1)}
    >>> union_counts(maps, 2)["relu"].tolist()
    [3]
    """
    check_filled(activations)
    return OrderedDict(
        (name, _zero_tiles(x, _sizes(x, tile, name))) for name, x in activations.items()
    )


def tiles_of(x: Array | np.ndarray, tile: Tile) -> int:
    """The number of tiles of one example of a map, over all its channels.

    >>> tiles_of(jnp.zeros((5, 3, 3, 2)), (2, 3))
    4
    """
    sizes = _sizes(x, tile, "x")
    positions = [-(-n // size) for n, size in zip(x.shape[1:-1], sizes, strict=True)]
    return math.prod(positions) * math.prod(x.shape[1:][-1:])


def _sizes(x: Array | np.ndarray, tile: Tile, name: str) -> list[int]:
    """The sizes of a tile along the positions of a map, at most those of the map."""
    positions = x.shape[1:-1]
    sizes = [tile] * len(positions) if isinstance(tile, int) else list(tile)
    if min([tile] if isinstance(tile, int) else sizes, default=1) < 1:
        raise ValueError(f"tile must have sizes of at least 1, got {tile!r}")
    if not positions:
        return []
    if len(sizes) != len(positions):
        raise ValueError(
            f"tile must have a size for each of the {len(positions)} axes of the map "
            f"{name} between batch and channels, {x.shape}, got {tile!r}"
        )
    return [min(size, n) for size, n in zip(sizes, positions, strict=True)]


def _zero_tiles(x: Array | np.ndarray, sizes: Sequence[int]) -> Int[Array, "batch"]:
    zero = jnp.asarray(x) == 0
    ends = [(0, -n % size) for n, size in zip(x.shape[1:-1], sizes, strict=True)]
    if sizes:
        zero = jnp.pad(zero, [(0, 0), *ends, (0, 0)], constant_values=True)
        split = [
            part
            for n, size in zip(zero.shape[1:-1], sizes, strict=True)
            for part in (n // size, size)
        ]
        zero = zero.reshape(len(x), *split, x.shape[-1])
        zero = zero.all([2 * (i + 1) for i in range(len(sizes))])
    return zero.sum(range(1, zero.ndim), dtype=jnp.int32)
