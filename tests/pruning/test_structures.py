import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax.pruning import structures
from dst_jax.pruning.selection import JOINT

SHAPE = (2, 8, 6)
scores = hnp.arrays(np.float32, SHAPE, elements=st.integers(0, 5).map(float))


def _first_k(flat, k):
    kept = np.zeros(flat.size, bool)
    kept[np.argsort(-flat, kind="stable")[:k]] = True
    return kept


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(scores, st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 8)]))
@pytest.mark.parametrize("axis", [-2, 1])
def test_n_m_equals_numpy(axis, x, n_of_m):
    n, m = n_of_m
    found = np.asarray(structures.n_m(n, m, axis=axis)(jnp.asarray(x), 0))
    groups = np.moveaxis(x, 1, -1).reshape(-1, m)
    expected = np.stack([_first_k(group, n) for group in groups])
    expected = np.moveaxis(expected.reshape(2, 6, 8), -1, 1)
    assert (found == expected).all()


@settings(max_examples=40, deadline=None)
@given(scores, st.integers(0, 96))
def test_block_equals_numpy(x, kept):
    found = np.asarray(structures.block((4, 2))(jnp.asarray(x), kept))
    pooled = x.reshape(2, 2, 4, 3, 2).mean((2, 4))
    chosen = _first_k(pooled.ravel(), (kept + 4) // 8).reshape(pooled.shape)
    assert (found == chosen.repeat(4, 1).repeat(2, 2)).all()


@settings(max_examples=40, deadline=None)
@given(scores, st.integers(0, 96))
@pytest.mark.parametrize(("side", "axis"), [("in", 1), ("out", 2)])
def test_channel_equals_numpy(side, axis, x, kept):
    found = np.asarray(structures.channel(side)(jnp.asarray(x), kept))
    size = 96 // SHAPE[axis]
    # The sum of integers is exact, so equal means are tied on both sides.
    pooled = x.sum(tuple({0, 1, 2} - {axis}))
    chosen = _first_k(pooled, (kept + size // 2) // size)
    shape = [1, 1, 1]
    shape[axis] = -1
    assert (found == np.broadcast_to(chosen.reshape(shape), SHAPE)).all()


@settings(max_examples=40, deadline=None)
@given(scores, st.integers(0, 96))
def test_constant_fan_in_equals_numpy(x, kept):
    found = np.asarray(structures.constant_fan_in()(jnp.asarray(x), kept))
    columns = x.reshape(-1, 6)
    expected = np.stack([_first_k(c, kept // 6) for c in columns.T], 1)
    assert (found == expected.reshape(SHAPE)).all()


def test_blocks_of_equal_size_may_compete_between_layers():
    tree = {"a": jnp.zeros((2, 4)), "b": jnp.ones((4, 2)), "c": None}
    found = structures.select(tree, {JOINT: 8}, structures.block((2, 2)))
    assert found["b"].all()
    assert not found["a"].any()
    assert found["c"] is None


def test_the_number_of_a_structure_may_be_traced():
    x = jnp.arange(16.0).reshape(4, 4)
    for structure in (
        structures.unstructured(),
        structures.block((1, 2)),
        structures.channel("in"),
        structures.constant_fan_in(),
    ):
        traced = jax.jit(structure)(x, jnp.int32(8))
        assert (traced == structure(x, 8)).all()
        assert traced.sum() == 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda x: structures.block((3,))(x, 4),
            r"block\(3,\) does not divide a kernel",
        ),
        (lambda x: structures.block(()), r"shape must be integers >= 1, got \(\)"),
        (lambda x: structures.n_m(3, 2), r"n must be in \[1, m=2\], got 3"),
        (
            lambda x: structures.n_m(2, 3)(x, 4),
            "2:3 does not divide axis -2 of a kernel",
        ),
        (lambda x: structures.channel("up"), "axis"),
        (lambda x: structures.channel("in")(x[0], 2), "has no input axis"),
        (
            lambda x: structures.select(
                {"a": x, "b": x[:2]}, {JOINT: 4}, structures.channel("out")
            ),
            r"units of \[2, 4\] weights",
        ),
        (
            lambda x: structures.select({"a": x}, {JOINT: 4}, structures.n_m(1, 2)),
            "1:2 needs a number for every layer",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(jnp.ones((4, 4)))
