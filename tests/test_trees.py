import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import trees

TREE = {"conv1": {"kernel": jnp.ones((2, 2)), "bias": None}, "fc": [jnp.ones(3)]}


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
