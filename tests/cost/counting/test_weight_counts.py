"""Products of two weights, which totals keep apart."""

import inspect
import json

import jax
import jax.numpy as jnp
import pytest

from dst_jax import cost

A, B = jnp.eye(4, 2), jnp.ones((2, 3))
X = jnp.array([[1.0, 0.0, 0.0, 1.0]] * 5)


def low_rank(w, x):
    with jax.named_scope("fold"):
        kernel = w["a"] @ w["b"]
    with jax.named_scope("fc"):
        return x @ kernel


def power_iteration(w, x):
    u = jax.lax.fori_loop(0, 3, lambda _, u: w["a"].T @ (w["a"] @ u), w["b"][:, 0])
    return low_rank(w, x) / u.sum()


def hypernetwork(w, x):  # its weights depend on data: none is a product of weights
    kernel = jnp.tanh(x[0] @ w["a"]) @ w["b"]
    return x @ jnp.outer(x[0], kernel)


def test_totals_are_of_activations():
    counts = jax.jit(cost.count(low_rank))({"a": A, "b": B}, X)
    assert type(counts["fold"]) is cost.WeightCounts
    assert type(counts["fc"]) is cost.OpCounts
    assert tuple(map(int, counts["fold"])) == (24, 24, 6, 24, 6)
    assert tuple(map(int, counts["fc"])) == (60, 60, 30, 30, 15)
    assert cost.total(counts).dense.tolist() == 60
    assert cost.total(counts, of="weights").dense.tolist() == 24
    assert cost.total(counts, of="all").dense.tolist() == 84
    assert cost.drop(counts) == 1 - 15 / 60
    with pytest.raises(ValueError, match=r"of must be one of .*'both'"):
        inspect.unwrap(cost.total)(counts, of="both")


def test_the_kind_stays_in_sums_and_on_the_host():
    counts = jax.jit(cost.count(low_rank))({"a": A, "b": B}, X)
    sums = cost.accumulate([counts, jax.device_get(counts)])
    assert sums["fold"] == cost.WeightCounts(48, 48, 12, 48, 12)
    assert [list(part) for part in cost.apart(sums)] == [["fc"], ["fold"]]
    assert json.loads(json.dumps(cost.as_dict(sums)))["fold"]["dense"] == 48


def test_loops_and_gradients():
    w = {"a": A, "b": B}
    counts = jax.jit(cost.count(power_iteration))(w, X)
    kinds = {name: type(op) is cost.WeightCounts for name, op in counts.items()}
    assert list(kinds.values()) == [True, True, True, False]
    assert int(cost.total(counts, of="weights").dense) == 3 * 2 * 8 + 24
    assert not cost.apart(jax.eval_shape(cost.count(hypernetwork), w, X))[1]
    slopes = jax.grad(lambda w, x: low_rank(w, x).sum())
    gradient = jax.eval_shape(cost.count(slopes), w, X)
    # The gradients of a and b multiply a weight by what depends on data.
    assert [k for k, op in gradient.items() if isinstance(op, cost.WeightCounts)] == [
        next(k for k in gradient if k.startswith("fold"))
    ]
