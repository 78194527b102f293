"""Where the axes of an operand go, against what happens to its elements."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.jaxprs.axis_moves import moves
from dst_jax.jaxprs.axis_pieces import extent, origins, whole

SHAPE = (2, 3, 1, 4)
X = np.arange(24).reshape(SHAPE)


def moved(fn, x=X):
    """The axes of every result of one operation, and the results."""
    program = jax.make_jaxpr(fn)(x)
    (eqn,) = program.eqns
    found = moves(eqn, 0)
    assert found is not None
    return [move(whole(x.shape)) for move in found], jax.tree.leaves(fn(x))


OPERATIONS = {
    "transpose": lambda x: jnp.transpose(x, (2, 0, 3, 1)),
    "merge": lambda x: jax.lax.reshape(x, (6, 1, 4)),
    "merge all": lambda x: jax.lax.reshape(x, (24,)),
    "split": lambda x: jax.lax.reshape(x, (2, 3, 2, 2)),
    "merge and split": lambda x: jax.lax.reshape(x, (6, 2, 1, 2)),
    "transpose and merge": lambda x: jax.lax.reshape(x, (8, 3), (0, 3, 1, 2)),
    "drop 1": lambda x: jax.lax.reshape(x, (2, 3, 4)),
    "squeeze": lambda x: jax.lax.squeeze(x, (2,)),
    "expand": lambda x: jax.lax.broadcast_in_dim(x, (5, 2, 3, 4, 4), (1, 2, 3, 4)),
    "slice": lambda x: jax.lax.slice(x, (0, 1, 0, 0), (2, 3, 1, 4), (1, 1, 1, 2)),
    "sum": lambda x: jax.lax.reduce_sum(x, (1, 2)),
    "split in parts": lambda x: jax.lax.split(x, (1, 2), axis=1),
    "unstack": lambda x: jnp.unstack(x, axis=1),
    "stack": lambda x: jnp.stack([x, x], axis=1),
    "tile": lambda x: jax.lax.tile(x, (1, 2, 1, 1)),
    "concatenate": lambda x: jax.lax.concatenate([x, x], 3),
    "pad": lambda x: jax.lax.pad(x, 0, [(0, 1, 0), *[(0, 0, 0)] * 3]),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_pieces_fit_the_results(operation):
    axes, results = moved(operation)
    assert len(axes) == len(results)
    for found, result in zip(axes, results, strict=True):
        assert tuple(extent(axis) for axis in found) == result.shape


ALONG = {
    "transpose": [{2}, {0}, {3}, {1}],
    "merge": [{0, 1}, {2}, {3}],
    "merge all": [{0, 1, 2, 3}],
    "split": [{0}, {1, 2}, {3}, {3}],
    "merge and split": [{0, 1, 2}, {3}, set(), {3}],
    "transpose and merge": [{0, 3}, {1, 2}],
    "drop 1": [{0}, {1, 2}, {3}],
    "squeeze": [{0}, {1}, {3}],
    "expand": [set(), {0}, {1}, set(), {3}],
    "slice": [{0}, {1}, {2}, {3}],
    "sum": [{0}, {3}],
    "unstack": [{0}, {2}, {3}],
    "stack": [{0}, set(), {1}, {2}, {3}],
}


@pytest.mark.parametrize("name", ALONG)
def test_axes_come_from(name):
    axes, _ = moved(OPERATIONS[name])
    for found in axes:
        assert [set(origins(axis)) for axis in found] == ALONG[name]


@st.composite
def reshapes(draw):
    """Two shapes of as many elements."""
    factors = draw(st.lists(st.sampled_from([1, 2, 2, 3]), max_size=5))

    def shape():
        cuts = [0, *sorted(draw(st.lists(st.integers(0, len(factors)), max_size=3)))]
        ends = [*cuts[1:], len(factors)]
        order = draw(st.permutations(factors))
        return tuple(math.prod(order[a:b]) for a, b in zip(cuts, ends, strict=True))

    return shape(), shape()


@settings(max_examples=100)
@given(reshapes())
def test_elements_along_an_axis_differ_only_in_axes_that_it_comes_from(shapes):
    before, after = shapes
    x = np.arange(math.prod(before)).reshape(before)
    program = jax.make_jaxpr(lambda x: jax.lax.reshape(x, after))(x)
    if not program.eqns:  # the same shape
        return
    (move,) = moves(program.eqns[0], 0)
    axes = move(whole(before))
    assert tuple(map(extent, axes)) == after
    at = np.stack([np.indices(before)[i].reshape(after) for i in range(len(before))])
    for axis, pieces in enumerate(axes):
        lines = np.moveaxis(at, axis + 1, -1)
        differ = {i for i, line in enumerate(lines) if (line != line[..., :1]).any()}
        assert differ <= origins(pieces)
    every = origins(itertools.chain(*axes))
    assert every >= {i for i, size in enumerate(before) if size > 1}


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0,), (0, 1, 7), (2, 0, 3)])
def test_reshapes_of_empty_arrays(shape):
    x = jnp.ones((0, 5))
    (eqn,) = jax.make_jaxpr(lambda x: jax.lax.reshape(x, shape))(x).eqns or [None]
    if eqn is not None:
        (move,) = moves(eqn, 0)
        assert len(move(whole((0, 5)))) == len(shape)


def test_what_more_is_done_is_no_move():
    for fn in (jnp.sin, lambda x: x @ x, lambda x: jnp.sort(x), lambda x: x + 1):
        (eqn, *_) = jax.make_jaxpr(fn)(jnp.ones((2, 2))).eqns
        assert moves(eqn, 0) is None
    index = jax.make_jaxpr(lambda x, i: jax.lax.dynamic_slice(x, (i,), (1,)))(
        jnp.ones(3), 1
    )
    assert moves(index.eqns[-1], 1) is None
