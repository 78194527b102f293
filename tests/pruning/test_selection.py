import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax import trees
from dst_jax.pruning.selection import JOINT, top_k, top_k_along

SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, -1e-30, 3e38, 1.0, 1.0000001]
values = st.one_of(st.sampled_from(SPECIAL), st.floats(-2, 2, width=16))
flat = hnp.arrays(np.float32, 12, elements=values)


def _first_k(scores, k):
    """The k largest by a stable sort, NaN and -inf alike the lowest."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    kept = np.zeros(scores.size, bool)
    kept[np.argsort(-scores, kind="stable")[: max(k, 0)]] = True
    return kept


@settings(max_examples=200, deadline=None)
@given(flat, st.integers(-1, 13))
def test_jointly_equals_a_stable_sort(scores, k):
    found = top_k({"a": scores[:4].reshape(2, 2), "b": scores[4:]}, {JOINT: k})
    found = np.concatenate([np.ravel(found["a"]), found["b"]])
    assert (found == _first_k(scores, k)).all()


@settings(max_examples=100, deadline=None)
@given(flat, st.integers(0, 4), st.integers(0, 8))
def test_by_layer_equals_a_stable_sort_of_each(scores, j, k):
    found = top_k({"a": scores[:4], "b": scores[4:]}, {"a": j, "b": k})
    assert (found["a"] == _first_k(scores[:4], j)).all()
    assert (found["b"] == _first_k(scores[4:], k)).all()


@settings(max_examples=100, deadline=None)
@given(hnp.arrays(np.float32, (4, 5), elements=values), st.integers(0, 5))
@pytest.mark.parametrize("axis", [0, -1])
def test_along_an_axis_equals_a_stable_sort_of_lines(axis, scores, k):
    found = top_k_along(jnp.asarray(scores), k, axis=axis)
    expected = np.apply_along_axis(_first_k, axis, scores, k)
    assert (found == expected).all()


def test_every_line_may_have_its_own_number():
    scores = jnp.arange(12.0).reshape(3, 4)
    found = top_k_along(scores, jnp.array([0, 1, 4]), axis=1)
    assert found.sum(1).tolist() == [0, 1, 4]


def test_some_layers_compete_and_others_do_not():
    scores = {"a": jnp.arange(4.0), "b": jnp.arange(4.0) + 10, "c": jnp.arange(4.0) - 9}
    found = top_k(scores, {"c": 3, JOINT: 5})
    assert [int(m.sum()) for m in found.values()] == [1, 4, 3]


def test_none_leaves_stay_and_numbers_may_be_traced():
    scores = {"a": jnp.array([1.0, 3.0]), "b": None}
    found = jax.jit(top_k)(scores, {JOINT: jnp.int32(1)})
    assert found["b"] is None
    assert found["a"].tolist() == [False, True]
    assert top_k({"b": None}, {}) == {"b": None}


def test_agrees_with_the_sorting_top_k():
    keys = jax.random.split(jax.random.key(0))
    scores = {str(i): jnp.round(jax.random.normal(k, (50,)) * 20) for i, k
              in enumerate(keys)}  # fmt: skip
    for k in (0, 1, 33, 99, 100):
        found, expected = top_k(scores, {JOINT: k}), trees.top_k(scores, k)
        assert all((found[name] == expected[name]).all() for name in scores)


def test_a_layer_without_a_number_is_named():
    with pytest.raises(ValueError, match=r"kept must name every layer.*\['b'\]"):
        top_k({"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": 1})
