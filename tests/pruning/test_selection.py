import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax.pruning.selection import JOINT, AtLeast, top_k
from dst_jax.trees import top_k_along

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


def _select(scores, allowed, k):
    """The k largest of those allowed by a stable sort, or all of them."""
    scores = np.where(np.isnan(scores), -np.inf, scores)
    order = np.flatnonzero(allowed)[np.argsort(-scores[allowed], kind="stable")]
    kept = np.zeros(scores.size, bool)
    kept[order[: max(k, 0)]] = True
    return kept


@settings(max_examples=200, deadline=None)
@given(flat, hnp.arrays(bool, 12), st.integers(0, 12), st.integers(0, 4))
def test_among_a_mask_nothing_else_is_kept(scores, allowed, k, first):
    tree = {"a": scores[:4].reshape(2, 2), "b": scores[4:]}
    mask = {"a": allowed[:4].reshape(2, 2), "b": allowed[4:]}
    found = top_k(tree, {JOINT: k}, among=mask)
    both = np.concatenate([np.ravel(found["a"]), found["b"]])
    assert (both == _select(scores, allowed, k)).all()
    found = top_k(tree, {"a": first, "b": k}, among=mask)
    expected = _select(scores[:4], allowed[:4], first)
    assert (np.ravel(found["a"]) == expected).all()
    assert (found["b"] == _select(scores[4:], allowed[4:], k)).all()


@settings(max_examples=100, deadline=None)
@given(
    hnp.arrays(np.float32, (4, 5), elements=values),
    hnp.arrays(bool, (4, 5)),
    st.integers(0, 5),
)
def test_along_an_axis_among_a_mask(scores, allowed, k):
    found = top_k_along(jnp.asarray(scores), k, axis=1, among=jnp.asarray(allowed))
    for line, among, kept in zip(scores, allowed, found, strict=True):
        assert (kept == _select(line, among, k)).all()


@settings(max_examples=100, deadline=None)
@given(flat, st.integers(0, 4), st.integers(0, 8), st.integers(0, 12))
def test_a_floor_is_kept_and_the_others_are_the_largest(scores, j, k, n):
    n = max(n, j + k)
    tree = {"a": scores[:4], "b": scores[4:]}
    found = top_k(tree, {"a": AtLeast(j), "b": AtLeast(k), JOINT: n})
    first = np.concatenate([_first_k(scores[:4], j), _first_k(scores[4:], k)])
    real = np.where(np.isnan(scores), -np.inf, scores)
    order = np.lexsort((np.arange(12), -real, ~first))
    expected = np.zeros(12, bool)
    expected[order[:n]] = True
    assert (np.concatenate([found["a"], found["b"]]) == expected).all()


def test_empty_layers_compete_with_none():
    empty = jnp.zeros((0, 3))
    scores = {"a": empty, "b": jnp.arange(3.0), "c": empty}
    found = top_k(scores, {JOINT: 1})
    assert found["b"].tolist() == [False, False, True]
    assert found["a"].shape == found["c"].shape == (0, 3)
    assert top_k({"a": empty}, {"a": 0})["a"].shape == (0, 3)
    assert top_k_along(empty, 2, axis=0).shape == (0, 3)


def test_more_weights_than_an_int32_counts():
    def shape(n):
        return jax.ShapeDtypeStruct((n,), jnp.float32)

    large = {"a": shape(2**31 - 1), "b": shape(2**31 - 1)}
    found = jax.eval_shape(lambda s: top_k(s, {"a": 2**31, "b": 5}), large)
    assert found["b"].shape == (2**31 - 1,)
    with pytest.raises(ValueError, match=r"at most 2147483647 elements .* 4294967294"):
        jax.eval_shape(lambda s: top_k(s, {JOINT: 5}), large)
    with pytest.raises(ValueError, match="at most 2147483647 elements can compete"):
        jax.eval_shape(lambda s: top_k(s, {"a": 5}), {"a": shape(2**31)})


def test_a_layer_without_a_number_is_named():
    with pytest.raises(ValueError, match=r"kept must name every layer.*\['b'\]"):
        top_k({"a": jnp.ones(2), "b": jnp.ones(2)}, {"a": 1})
