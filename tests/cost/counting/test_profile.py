"""Profiles: the masks give the counts of `cost.count`, under the same keys."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax import cost

QUICK = {"xla_backend_optimization_level": 0}
W = jnp.array([[1.0, 0.0], [0.0, 0.0]])
X = jnp.array([[1.0, 0.0], [3.0, 2.0], [0.0, 0.0]])


def ints(counts: Any) -> dict[str, list[int]]:
    return {name: [int(n) for n in op] for name, op in counts.items()}


def sparse(*shape: int) -> jax.Array:
    rng = np.random.default_rng(sum(shape))
    return jnp.asarray(rng.integers(-1, 2, shape).astype(np.float32))


def conv(rank: int, dims: tuple[str, str, str] | None = None, **options: Any) -> Any:
    def fn(w, x):
        strides, padding = (1, 2, 1)[:rank], ((1, 0), (2, -1), (0, 1))[:rank]
        return lax.conv_general_dilated(
            x, w, strides, padding, dimension_numbers=dims, **options
        )

    return fn


def attention(w, x):
    q, k = jnp.split((x @ w).reshape(2, 3, 4, 8), 2, -1)
    return jnp.einsum("bqhd,bkhd->bhqk", q, jax.nn.relu(k))


def grouped(w, x):
    return jnp.einsum("gkm,ngk->gnm", w, x)


CASES = {
    "matrix": (lambda w, x: x @ w, W, X),
    "weight on the left": (lambda w, x: w @ x.T, W, X),
    "rows of two axes": (lambda w, x: x @ w, sparse(3, 5), sparse(2, 4, 3)),
    "groups": (grouped, sparse(2, 3, 4), sparse(5, 2, 3)),
    "attention": (attention, sparse(6, 32), sparse(2, 3, 6)),
    "1d": (conv(1), sparse(4, 2, 3), sparse(2, 2, 6)),
    "2d": (conv(2, ("NHWC", "HWIO", "NHWC")), sparse(3, 2, 2, 4), sparse(2, 5, 6, 2)),
    "3d": (conv(3, rhs_dilation=(1, 2, 1)), sparse(*[2] * 5), sparse(1, 2, 4, 5, 3)),
    "grouped": (conv(2, feature_group_count=2), sparse(4, 2, 3, 3), sparse(2, 4, 5, 5)),
    "dilated": (conv(2, lhs_dilation=(2, 3)), sparse(3, 2, 3, 3), sparse(1, 2, 4, 4)),
    "no weight": (lambda _, x: x @ x.T, W, X),
    "empty": (lambda w, x: x @ w, W, X[:0]),
}  # fmt: skip


@functools.cache
def found() -> tuple[Any, Any, Any]:
    """Profiles, their counts, and the counts of `cost.count`, by case and key."""

    def all_cases(ws, xs):
        return [fn(w, x) for (fn, *_), w, x in zip(CASES.values(), ws, xs, strict=True)]

    def both(ws, xs):
        profiles = cost.profile(all_cases)(ws, xs)
        counts = {key: p.counts for key, p in profiles.items()}
        return profiles, counts, cost.count(all_cases)(ws, xs)

    _, ws, xs = zip(*CASES.values(), strict=True)
    return jax.jit(both, compiler_options=QUICK)(list(ws), list(xs))


def profile_of(case: str) -> cost.OpProfile:
    """Of the last operation of a case."""
    position = 0
    for name in CASES:
        position += 2 if name == "attention" else 1
        if name == case:
            break
    return list(found()[0].values())[position - 1]


@pytest.mark.slow
def test_masks_hold_the_counts():
    profiles, counts, expected = found()
    assert list(profiles) == list(expected)
    assert ints(counts) == ints(expected)
    assert len(expected) == len(CASES) + 1


@pytest.mark.slow
def test_the_canonical_axes_of_a_matrix_product():
    p = profile_of("weight on the left")
    np.testing.assert_array_equal(p.activation, X != 0)
    np.testing.assert_array_equal(p.weight, W.T != 0)
    np.testing.assert_array_equal(p.output, X @ W.T != 0)
    assert (p.batch, p.channels, p.filters, p.taps, p.positions) == (3, 2, 2, 1, 1)
    assert not p.geometry.dynamic


def test_groups_lie_side_by_side():
    (fn, w, x), p = CASES["groups"], profile_of("groups")
    assert p.geometry.groups == 2
    np.testing.assert_array_equal(p.activation, x.reshape(5, 6) != 0)
    np.testing.assert_array_equal(p.weight, np.concatenate(w, -1) != 0)
    np.testing.assert_array_equal(p.output, np.concatenate(fn(w, x), -1) != 0)


def test_the_canonical_axes_of_a_convolution():
    (fn, w, x), p = CASES["grouped"], profile_of("grouped")
    np.testing.assert_array_equal(p.activation, x.transpose(0, 2, 3, 1) != 0)
    np.testing.assert_array_equal(p.weight, w.transpose(2, 3, 1, 0) != 0)
    np.testing.assert_array_equal(p.output, fn(w, x).transpose(0, 2, 3, 1) != 0)
    assert (p.geometry.strides, p.geometry.padding) == ((1, 2), ((1, 0), (2, -1)))
    assert (p.geometry.groups, p.taps, p.positions) == (2, 9, 4 * 2)


def test_attention_is_dynamic():
    assert profile_of("attention").geometry.dynamic
    assert not profile_of("2d").geometry.dynamic


def test_input_sparsity():
    assert profile_of("matrix").input_sparsity == 0.5
    assert profile_of("empty").input_sparsity == 0


INDICES = [f"{i}][{j}]" for i in (0, 1) for j in (0, 1, 2)]


def nested(ws, x):
    def inner(c, w):
        return jax.nn.relu(c @ w - 1), c @ w.T

    def outer(c, _):
        return lax.scan(inner, c, ws, reverse=True)

    return lax.scan(outer, x, None, length=2)


@pytest.mark.usefixtures("scan3_off")
def test_a_scan_is_unrolled():
    ws = jnp.stack([W, W + 1, W.T])

    def both(ws, x):
        output, profiles = cost.profile(nested, with_output=True)(ws, X)
        counts = {key: p.counts for key, p in profiles.items()}
        return output, profiles, counts, nested(ws, x), cost.count(nested)(ws, x)

    output, profiles, counts, expected, counted = jax.jit(both)(ws, X)
    jax.tree.map(np.testing.assert_array_equal, output, expected)
    # In order of execution: the last layer first.
    np.testing.assert_array_equal(profiles["dot_general[0][0]"].weight, W.T != 0)
    sums: dict[str, Any] = {}
    for key, op in ints(counts).items():
        name, index = key.split("[", 1)
        sums.setdefault(name, {})[index] = op
    assert [list(ops) for ops in sums.values()] == [INDICES] * 2
    totals = {k: np.sum(list(ops.values()), 0).tolist() for k, ops in sums.items()}
    assert totals == ints(counted)


def test_a_scan_without_iterations_has_outputs_of_its_shape():
    fn = cost.profile(
        lambda ws, x: lax.scan(lambda c, w: (c, c @ w), x, ws), with_output=True
    )
    (carry, ys), profiles = fn(jnp.zeros((0, 2, 2)), X)
    assert (carry.shape, ys.shape, profiles) == ((3, 2), (0, 3, 2), {})


REFUSED = {
    "which branch": lambda w, x: lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x),
    "how often": lambda w, x: lax.while_loop(lambda c: c[0, 0] < 0, lambda c: c @ w, x),
    "'ragged_dot": lambda w, x: lax.ragged_dot(x, w[None], jnp.array([3])),
    "batch_group_count = 3": lambda w, x: lax.conv_general_dilated(
        x[..., None], jnp.ones((3, 2, 1)), (1,), "SAME", batch_group_count=3
    ),
    "no activation": lambda w, x: lax.conv_general_dilated(
        w[..., None], x[..., None], (1,), "SAME"
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_profiled_says_why(why):
    with pytest.raises(ValueError, match=f"cannot .*{why}"):
        jax.eval_shape(cost.profile(REFUSED[why]), W, X)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2, name="conv1")(x))
        return nn.Dense(3, name="fc")(x.mean((1, 2)))


def test_a_network_keeps_its_keys():
    x = jax.ShapeDtypeStruct((2, 6, 6, 3), jnp.float32)
    variables = jax.eval_shape(Net().init, jax.random.key(1), x)
    profiles = jax.eval_shape(cost.profile(Net().apply), variables, x)
    assert list(profiles) == ["conv1", "fc"]
    assert profiles["conv1"].output.shape == (2, 3, 3, 4)
