"""Zeros over whole tiles, against loops over the tiles."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.activations import sparsity, tiles_of, union_counts, union_sparsity

RANDOM = np.random.default_rng(0)


def zeros_and_ones(*shape):
    return (RANDOM.random(shape) < 0.4).astype(np.float32)


def by_loops(x, sizes):
    """(zero tiles of every example, tiles of one example)."""
    starts = [range(0, n, s) for n, s in zip(x.shape[1:-1], sizes, strict=True)]
    zero, tiles = np.zeros(len(x), int), 0
    for corner in itertools.product(*starts):
        ends = zip(corner, sizes, strict=True)
        tile = x[(slice(None), *(slice(a, a + s) for a, s in ends))]
        tiles += x.shape[-1]
        zero += (tile.reshape(len(x), -1, x.shape[-1]) == 0).all(1).sum(1)
    return zero.tolist(), tiles


CASES = {
    "tokens": ((3, 13, 5), 8, (8,)),
    "pixels": ((2, 7, 4, 3), (2, 3), (2, 3)),
    "square": ((2, 5, 5, 3), 2, (2, 2)),
    "larger than the map": ((2, 3, 2), 8, (8,)),
    "volume": ((2, 3, 4, 2, 2), 2, (2, 2, 2)),
    "no positions": ((4, 6), 8, ()),
    "sizes without positions": ((4, 6), (2, 2), ()),
}


def test_counts_tiles_that_are_zero():
    maps = {name: zeros_and_ones(*shape) for name, (shape, _, _) in CASES.items()}

    @jax.jit
    def found(maps):
        return {
            name: [
                of({name: x}, CASES[name][1]) for of in (union_counts, union_sparsity)
            ]
            for name, x in maps.items()
        }

    for name, (counts, shares) in found(maps).items():
        x, (_, tile, sizes) = maps[name], CASES[name]
        zero, tiles = by_loops(x, sizes)
        assert counts[name].tolist() == zero, name
        assert tiles_of(x, tile) == tiles
        share = sum(zero) / (tiles * len(x))
        np.testing.assert_allclose(shares[name], share, rtol=1e-6)


def test_one_position_is_the_usual_sparsity_and_more_are_never_above():
    maps = {"conv": zeros_and_ones(2, 6, 6, 4), "fc": zeros_and_ones(2, 9)}
    usual = sparsity(maps).per_layer
    single = union_sparsity(maps, 1)
    wider = union_sparsity(maps, 3)
    for name in maps:
        np.testing.assert_allclose(single[name], usual[name], rtol=1e-6)
        assert wider[name] <= single[name]
    mapped = jax.vmap(lambda x: union_counts({"x": x}, 2)["x"])(maps["conv"][None])
    assert mapped[0].tolist() == union_counts({"x": maps["conv"]}, 2)["x"].tolist()


def test_nan_is_nonzero_and_negative_zero_is_zero():
    x = jnp.array([[[-0.0], [0.0], [jnp.nan], [0.0]]])
    assert union_counts({"x": x}, 2)["x"].tolist() == [1]


@pytest.mark.parametrize(
    ("maps", "tile", "message"),
    [
        ({}, 2, "activations is empty"),
        ({"a": jnp.ones((2, 0, 3))}, 2, "the map a is empty"),
        ({"a": jnp.ones((2, 4, 3))}, 0, "tile must have sizes of at least 1, got 0"),
        ({"a": jnp.ones((2, 4, 3))}, (-1,), r"at least 1, got \(-1,\)"),
        ({"a": jnp.ones((2, 4, 3))}, (2, 2), "each of the 1 axes of the map a betw"),
    ],
)
def test_what_is_refused(maps, tile, message):
    with pytest.raises(ValueError, match=message):
        union_sparsity(maps, tile)
