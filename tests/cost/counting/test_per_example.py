"""T11: `vmap` inside and outside, and counts per example, equal a loop."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax import cost

W = jnp.array([[1.0, 0.0], [0.0, 0.0]])
X = jnp.ones((3, 2))
XS = jnp.stack([X, 0 * X, X.at[0].set(0)])


jitted = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def matmul(w, x):
    return x @ w


def conv(w, x):
    return lax.conv_general_dilated(x, w, (2,), [(1, 0)])


def search(w, x):
    return lax.while_loop(lambda c: c.sum() < 9, lambda c: 1 + c @ w, x)


def lists(counts: Any) -> dict[str, list[list[int]]]:
    return {name: [n.tolist() for n in op] for name, op in counts.items()}


def looped(fn: Any, examples: list[Any]) -> dict[str, list[list[int]]]:
    """The counts of every example, from a loop in Python."""
    counted = jitted(cost.count(fn))
    each = [lists(counted(*example)) for example in examples]
    return {name: np.stack([c[name] for c in each], 1).tolist() for name in each[0]}


CASES = {
    "inputs": (matmul, (None, 0), (W, XS)),
    "weights": (matmul, (0, None), (jnp.stack([W, W.T, 0 * W]), X)),
    "other axes": (matmul, (1, 2), (W[:, None].repeat(3, 1), XS.transpose(1, 2, 0))),
    "convolution": (conv, (None, 0), (jnp.eye(3)[:, :, None], XS[:, None])),
    "convolutions": (conv, (0, 0), (XS[..., None], XS[:, :, :, None])),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_vmap_adds_up_and_keeps_the_keys(name):
    fn, axes, args = CASES[name]
    moved = [
        a if axis is None else jnp.moveaxis(a, axis, 0)
        for a, axis in zip(args, axes, strict=True)
    ]
    per_example = looped(
        fn,
        [
            [a if axis is None else a[i] for a, axis in zip(moved, axes, strict=True)]
            for i in range(3)
        ],
    )
    inside = jitted(cost.count(jax.vmap(fn, axes)))(*args)
    assert lists(inside) == {k: np.sum(v, 1).tolist() for k, v in per_example.items()}
    outside = jitted(jax.vmap(cost.count(fn), axes))(*args)
    assert lists(outside) == per_example


def test_every_example_loops_as_long_as_it_does_alone():
    ws, xs = jnp.broadcast_to(W, (3, 2, 2)), XS * jnp.array([9.0, 1, 2])[:, None, None]
    alone = looped(search, list(zip(ws, xs, strict=True)))
    assert len({n for op in alone.values() for n in op[0]}) == 3
    assert lists(jax.vmap(cost.count(search))(ws, xs)) == alone
    # Inside, JAX multiplies for all examples until the last has ended.
    inside = jitted(cost.count(jax.vmap(search)))(ws, xs)
    (dense, *_) = lists(inside)["dot_general"]
    assert dense == 3 * max(alone["dot_general"][0])


def test_both_branches_count_where_examples_take_different_ones():
    def fn(w, x):
        return lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: 2 * x @ w)

    inside = jitted(cost.count(jax.vmap(fn, (None, 0))))(W, XS)
    assert [op[0] for op in lists(inside).values()] == [3 * 12, 3 * 12]
    outside = jitted(jax.vmap(cost.count(fn), (None, 0)))(W, XS)
    # JAX keeps the branch for False first.
    assert [op[0] for op in lists(outside).values()] == [[0, 12, 12], [12, 0, 0]]


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, scale=1.0):
        x = nn.relu(nn.Conv(4, (3, 3), name="conv1")(x))
        x = nn.BatchNorm(use_running_average=True, name="bn1")(x)
        return nn.Dense(3, name="fc")(nn.relu(x - 0.1).mean((1, 2))) * scale


@pytest.mark.slow
def test_per_example_counts_of_a_network():
    x = nn.relu(jax.random.normal(jax.random.key(0), (3, 5, 5, 2)) - 1).at[1].set(0)
    variables = jitted(Net().init)(jax.random.key(1), x)
    counted = cost.count(Net().apply, per_example=True, with_output=True)
    logits, counts = jitted(counted)(variables, x, scale=2.0)
    assert lists(counts) == looped(
        Net().apply, [(variables, x[i : i + 1]) for i in range(3)]
    )
    batch = jitted(cost.count(Net().apply))(variables, x)
    assert lists(batch) == {k: np.sum(v, 1).tolist() for k, v in lists(counts).items()}
    np.testing.assert_allclose(
        logits.squeeze(1),
        jitted(Net().apply)(variables, x, scale=2.0),
        rtol=1e-5,
        atol=1e-6,
    )
    assert cost.total(counts).effectual.tolist() == [
        sum(n)
        for n in zip(*(op.effectual.tolist() for op in counts.values()), strict=True)
    ]
    with pytest.raises(TypeError, match=r"shape \(3,\) is not one integer"):
        cost.drop(counts)


def test_arrays_without_axes_are_shared():
    def fn(w, x, key, scale):
        return (x + jax.random.normal(key, x.shape)) @ w * scale

    counted = cost.count(fn, per_example=True)
    assert lists(jitted(counted)(W, X, jax.random.key(0), 2.0))["dot_general"][0] == [
        4,
        4,
        4,
    ]


def test_per_example_needs_examples():
    counted = cost.count(lambda w, x, y: x @ w + y, per_example=True)
    with pytest.raises(ValueError, match="one leading axis of examples, got 2, 3"):
        counted(W, X, jnp.ones((2, 2)))
    with pytest.raises(ValueError, match="of examples, got no arrays"):
        counted(W, 1.0, 1.0)
