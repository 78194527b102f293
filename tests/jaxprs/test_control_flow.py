"""T11 for loops and branches: what is counted equals a loop written in Python."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax import cost

jitted = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
W = jnp.array([[1.0, 0.0], [-2.0, 1.0]])
X = jnp.array([[1.0, 0.0], [3.0, 2.0], [0.0, 0.0]])
LAYERS = jnp.stack([W, 0 * W, W.T])


def layer(w, x):
    return jax.nn.relu(x @ w - 0.5)


def ints(counts: Any) -> list[list[int]]:
    return [[int(n) for n in op] for op in counts.values()]


def count(fn, *args) -> list[list[int]]:
    return ints(jitted(cost.count(fn))(*args))


product = jitted(cost.count(lambda w, x: x @ w))


def products(pairs) -> list[int]:
    """The sum over products of (input, weight)."""
    return np.sum([[0] * 5] + [ints(product(w, x))[0] for x, w in pairs], 0).tolist()


def summed(fn, *args) -> list[int]:
    """All operations of a function without loops, which share one key in a loop."""
    return np.sum(count(fn, *args), 0).tolist()


def repeated(n):
    def fn(w, x):
        for _ in range(n):
            x = layer(w, x)
        return x

    return fn


def scanned(w, x, n=3, **options):
    return lax.scan(lambda c, _: (layer(w, c), None), x, None, length=n, **options)[0]


def test_a_scan_counts_the_zeros_of_every_carry():
    (op,) = count(scanned, W, X)
    assert op == summed(repeated(3), W, X)
    # The carry gets sparser: three times the first iteration would be another number.
    assert op != (3 * np.array(count(repeated(1), W, X)[0])).tolist()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_scan_over_layers_with_outputs(reverse, request):
    if reverse:
        request.getfixturevalue("scan3_off")

    def fn(ws, x):
        return lax.scan(
            lambda c, w: (layer(w, c), c @ w), x, ws, reverse=reverse, unroll=2
        )

    def unrolled(ws, x):
        ys = []
        for w in ws[::-1] if reverse else ws:
            ys.append(x @ w)
            x = layer(w, x)
        return x, jnp.stack(ys[::-1] if reverse else ys)

    output, counts = jitted(cost.count(fn, with_output=True))(LAYERS, X)
    expected = unrolled(LAYERS, X)
    jax.tree.map(np.testing.assert_array_equal, output, expected)
    assert list(counts) == ["dot_general", "dot_general_1"]
    assert np.sum(ints(counts), 0).tolist() == summed(unrolled, LAYERS, X)


@pytest.mark.usefixtures("scan3_off")
def test_a_scan_without_iterations_counts_nothing():
    assert count(lambda w, x: scanned(w, x, 0), W, X) == [[0] * 5]


def test_a_scan_past_the_limbs_of_one_sum():
    def fn(w, x):
        return lax.scan(lambda c, _: (c @ w, None), x, None, length=70_000)[0]

    assert count(fn, jnp.eye(2), X) == [[n * 70_000 for n in (12, 12, 6, 6, 3)]]


GROW = jnp.array([[1.0, 0.0], [2.0, 0.0]])


def until(limit, w, x):
    """Multiplies until the sum of a product passes the limit."""
    return lax.while_loop(lambda c: (c @ w).sum() < limit, lambda c: 1 + c @ GROW, x)


@pytest.mark.parametrize(("limit", "iterations"), [(-1, 0), (20, 2), (50, 5)])
def test_a_while_loop_counts_its_test_and_its_body(limit, iterations):
    w, x, tests, bodies = jnp.eye(2), X, [], []
    while tests.append((x, w)) or (x @ w).sum() < limit:
        bodies.append((x, GROW))
        x = 1 + x @ GROW
    assert len(bodies) == iterations
    found = count(lambda w, x: until(limit, w, x), w, X)
    assert found == [products(tests), products(bodies)]


def test_a_loop_as_often_as_the_data_says():
    def fn(w, x, n):
        return lax.fori_loop(0, n, lambda _, c: layer(w, c), x)

    counted = jitted(cost.count(fn))
    for n in range(3):
        expected = summed(repeated(n), W, X) if n else [0] * 5
        assert ints(counted(W, X, n)) == [expected]


BRANCHES = [lambda w, x: x @ w, lambda w, x: x + 0, lambda w, x: (x @ w) @ w]


@pytest.mark.parametrize("jit", [False, True])
def test_a_branch_counts_where_it_is_taken(jit):
    def fn(w, x, i):
        return lax.switch(i, BRANCHES, w, x)

    counted = cost.count(fn, with_output=True)
    counted = jitted(counted) if jit else counted
    taken = []
    for i, branch in enumerate(BRANCHES):
        output, counts = counted(W, X, i)
        np.testing.assert_array_equal(output, branch(W, X))
        assert len(counts) == 3
        taken.append([op for op in ints(counts) if any(op)])
        assert taken[-1] == count(branch, W, X)
    assert [len(found) for found in taken] == [1, 0, 2]


def nested(w, x):
    """A cond and a while loop in a scan, under remat, in a function of its own."""

    def body(c, i):
        c = lax.cond(i % 2 == 0, lambda c: layer(w, c), lambda c: c + 1, c)
        _, c = lax.while_loop(
            lambda s: s[0] < i, lambda s: (s[0] + 1, s[1] @ w), (0, c)
        )
        return c, None

    return lax.scan(jax.checkpoint(body), x, jnp.arange(4))[0]


def nested_in_python(w, x, taken, looped):
    for i in range(4):
        if i % 2 == 0:
            taken.append((x, w))
            x = layer(w, x)
        else:
            x = x + 1
        for _ in range(i):
            looped.append((x, w))
            x = x @ w


def test_loops_and_branches_in_each_other():
    taken, looped = [], []
    nested_in_python(W, X, taken, looped)
    assert count(jax.jit(nested), W, X) == [products(taken), products(looped)]


def test_unjitted_counts_are_those_of_jit():
    assert ints(cost.count(nested)(W, X)) == count(nested, W, X)


def test_keys_are_paths_through_loops_and_branches():
    def fn(w, x):
        with jax.named_scope("net"), jax.named_scope("rnn"):
            x = scanned(w, x)
            with jax.named_scope("head"):
                x = lax.cond(x[0, 0] > 0, layer, lambda w, x: x, w, x)
        with jax.named_scope("net"), jax.named_scope("search"):
            return until(3, w, x)

    assert list(jax.eval_shape(cost.count(fn), W, X)) == [
        "rnn",
        "rnn/head",
        "search/dot_general",
        "search/dot_general_1",
    ]


@pytest.mark.usefixtures("scan3_off")
def test_a_train_step_counts_the_backward_pass():
    def loss(w, x):
        return scanned(w, x).sum()

    def train_step(w, x):
        return w - 0.1 * jax.grad(loss)(w, x)

    forward, *backward = count(train_step, W, X)
    assert forward == count(scanned, W, X)[0]
    dense = forward[0]
    # Per iteration a product for the gradient of the weights and one for the carry.
    assert [op[0] for op in backward] == [dense] * 2
    keys = list(jax.eval_shape(cost.count(train_step), W, X))
    assert keys == [f"dot_general{i}" for i in ("", "_1", "_2")]
