from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.core import freeze
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import trees

TREE = {"conv1": {"kernel": jnp.ones((2, 2)), "bias": None}, "fc": [jnp.ones(3)]}


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=20), st.integers(-2, 22))
def test_top_k_keeps_exactly_k_the_first_of_ties(values, k):
    cut = len(values) // 2
    tree = {"a": jnp.array(values[:cut]), "b": jnp.array(values[cut:])}
    found = trees.top_k(tree, k)
    kept = np.concatenate([found["a"], found["b"]])
    order = np.argsort(-np.asarray(values), kind="stable")
    expected = np.zeros(len(values), bool)
    expected[order[: max(k, 0)]] = True
    assert (kept == expected).all()


def test_top_k_traced_and_none_leaves():
    tree = {"a": jnp.array([1.0, 3.0]), "b": None}
    found = jax.jit(trees.top_k)(tree, jnp.int32(1))
    assert found["b"] is None
    assert found["a"].tolist() == [False, True]


def test_select_takes_the_first_match_and_the_default():
    found = trees.select(TREE, [("conv1", 1), ("kernel|fc", 2)], default=0)
    assert found == {"conv1": {"kernel": 1, "bias": None}, "fc": [2]}


@pytest.mark.parametrize(
    ("pattern", "message"), [("nothing", "matches none of"), ("(", "is not a regex")]
)
def test_select_refuses_bad_rules(pattern, message):
    with pytest.raises(ValueError, match=message):
        trees.select(TREE, [(pattern, 1)], default=0)


def test_names_and_count():
    assert list(trees.named_leaves(TREE)) == ["conv1/kernel", "fc/0"]
    assert trees.count(TREE) == 7


class Pair(NamedTuple):
    """A container with the names of a dict."""

    first: Any
    second: Any


def test_names_are_those_that_users_write():
    layers = nnx.List([nnx.Linear(2, 3, rngs=nnx.Rngs(0))])
    state = nnx.state(nnx.Dict(layers=layers), nnx.Param)
    assert list(trees.named_leaves(state)) == ["layers/0/bias", "layers/0/kernel"]
    stacked = jax.tree.map(lambda w: (w, w), state)
    assert "layers/0/kernel/1" in trees.named_leaves(stacked)
    module = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    assert list(trees.named_leaves({"fc": module})) == ["fc/weight", "fc/bias"]
    # Only NNX's attribute is left out, not a user's key.
    assert list(trees.named_leaves({"fc": {"value": 1}})) == ["fc/value"]


@pytest.mark.parametrize(
    ("tree", "other"),
    [
        ({"a": 1, "b": {"c": None}}, freeze({"a": 0, "b": {"c": 0}})),
        (freeze({"a": 1, "b": [2, 3]}), {"a": 0, "b": (0, None)}),
        ([1, (2, 3)], (0, [0, 0])),
        ({"first": 1, "second": [2]}, Pair(0, (0,))),
        (Pair(1, {"x": 2}), {"first": 0, "second": freeze({"x": 0})}),
        ({"a": None, "b": 1}, {"a": {"x": 0, "y": [0, 0]}, "b": 0}),
    ],
)
def test_like_keeps_the_leaves_and_takes_the_containers(tree, other):
    found = trees.like(tree, other)
    wanted = jax.tree.structure(other, is_leaf=trees.is_none)
    assert jax.tree.structure(found, is_leaf=trees.is_none) == wanted
    assert trees.named_leaves(found) == trees.named_leaves(tree)


@pytest.mark.parametrize(
    ("tree", "other", "names"),
    [
        ({"a": 1}, {"b": 1}, r"\['b', 'a'\] differ"),
        ({"a": 1, "b": 2}, {"a": 1}, r"\['b'\] differ"),
        ({"a": 1}, {"a": 1, "b": 2}, r"\['b'\] differ"),
        ([1, 2], (1, 2, 3), r"\['2'\] differ"),
        ({"a": 1}, {"a": {"x": 1}}, r"\['a/x', 'a'\] differ"),
        ({"other": None}, {"a": 1}, r"\['a', 'other'\] differ"),
    ],
)
def test_like_names_what_differs(tree, other, names):
    with pytest.raises(ValueError, match=f"mask is not shaped like params: {names}"):
        trees.like(tree, other, names=("mask", "params"))


def test_instances_are_found_at_any_depth():
    tx = optax.chain(optax.adam(0.1), optax.masked(optax.sgd(0.1, 0.9), {"a": True}))
    state = {"x": [tx.init({"a": jnp.ones(2)})]}
    assert len(trees.instances(state, optax.TraceState)) == 1
    assert len(trees.instances(state, optax.ScaleByAdamState)) == 1
    assert trees.instances(state, optax.MultiStepsState) == []


def test_top_k_of_more_elements_than_an_int32_counts():
    large = [jax.ShapeDtypeStruct((2**30,), jnp.float32)] * 2
    with pytest.raises(ValueError, match=r"at most 2147483647 elements .* 2147483648"):
        jax.eval_shape(lambda tree: trees.top_k(tree, 5), large)
    found = jax.eval_shape(lambda tree: trees.top_k(tree, 5), large[:1])
    assert found[0].shape == (2**30,)
    assert trees.top_k({"a": jnp.zeros((0, 2))}, 3)["a"].shape == (0, 2)


def test_leaves_of_one_path_name_are_refused():
    tree = {"a/b": jnp.ones(2), "a": {"b": jnp.ones(3)}}
    with pytest.raises(ValueError, match=r"several leaves at \['a/b'\]"):
        trees.named_leaves(tree)
