"""Steps of SET, RigL and gradual pruning against NumPy, written from their papers."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.pruning import Step, distributions, structures, updates

SHAPES = {"a": (4, 6), "b": (2, 3, 5)}
SIZES = {"a": 24, "b": 30}
NOW = Step(
    params={"w": jnp.array([-2.0, 3.0])},
    grads={"w": jnp.array([5.0, -1.0])},
    mask={"w": jnp.ones(2, bool)},
    step=jnp.int32(1),
    key=jax.random.key(0),
    memory=(),
)
seeds = st.integers(0, 2**31)


def _tree(rng, ties):
    draw = {k: rng.normal(size=s).astype("f") for k, s in SHAPES.items()}
    # Few values, so that many are tied.
    return {k: np.abs(np.round(x)) if ties else np.abs(x) for k, x in draw.items()}


def _largest(values, k):
    kept = np.zeros(values.size, bool)
    kept[np.argsort(-values.ravel(), kind="stable")[:k]] = True
    return kept.reshape(values.shape)


def _mask(rng):
    return {k: rng.random(s) < 0.4 for k, s in SHAPES.items()}


def _assert_equal(found, expected):
    assert found.keys() == expected.keys() == SHAPES.keys()
    for k, shape in SHAPES.items():
        assert found[k].shape == expected[k].shape == shape
        np.testing.assert_array_equal(found[k], expected[k])


step = jax.jit(updates.drop_and_grow)
step_global = jax.jit(partial(updates.drop_and_grow, scope="global"))
prune_global = jax.jit(lambda s, m, f: updates.prune(s, m, f, "global"))
prune_erk = jax.jit(lambda s, m, f: updates.prune(s, m, f, "erk"))


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]))
def test_a_step_by_layer_equals_numpy(seed, ties, fraction):
    rng = np.random.default_rng(seed)
    weights, steep, mask = _tree(rng, ties), _tree(rng, ties), _mask(rng)
    expected = {}
    for k, m in mask.items():
        n = m.sum()
        stays = _largest(np.where(m, weights[k], -np.inf), n - int(fraction * n)) & m
        expected[k] = stays | _largest(
            np.where(stays, -np.inf, steep[k]), n - stays.sum()
        )
    _assert_equal(step(weights, steep, mask, fraction), expected)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from([0.1, 0.25, 0.5]))
def test_a_global_step_equals_numpy(seed, fraction):
    rng = np.random.default_rng(seed)
    weights, steep, mask = _tree(rng, False), _tree(rng, False), _mask(rng)
    flat = {k: np.concatenate([x["a"].ravel(), x["b"].ravel()]) for k, x in
            {"w": weights, "g": steep, "m": mask}.items()}  # fmt: skip
    n = flat["m"].sum()
    stays = _largest(np.where(flat["m"], flat["w"], -np.inf), n - int(fraction * n))
    new = stays | _largest(np.where(stays, -np.inf, flat["g"]), n - stays.sum())
    expected = {"a": new[:24].reshape(4, 6), "b": new[24:].reshape(2, 3, 5)}
    _assert_equal(step_global(weights, steep, mask, fraction), expected)


@settings(max_examples=40, deadline=None)
@given(seeds, st.booleans(), st.floats(0, 0.984375, width=16))
def test_global_pruning_equals_numpy(seed, ties, sparsity):
    rng = np.random.default_rng(seed)
    weights, mask = _tree(rng, ties), _mask(rng)
    flat = np.concatenate([np.where(mask[k], weights[k], -1).ravel() for k in SHAPES])
    active = sum(m.sum() for m in mask.values())
    kept = min(int(np.floor((1 - sparsity) * 54 + 0.5)), active)
    new = _largest(flat, kept)
    expected = {"a": new[:24].reshape(4, 6), "b": new[24:].reshape(2, 3, 5)}
    _assert_equal(prune_global(weights, mask, jnp.float32(sparsity)), expected)


@settings(max_examples=40, deadline=None)
@given(seeds, st.floats(0, 0.984375, width=16))
def test_pruning_by_layer_never_revives_and_keeps_the_sum(seed, sparsity):
    rng = np.random.default_rng(seed)
    weights, mask = _tree(rng, False), _mask(rng)
    found = prune_erk(weights, mask, jnp.float32(sparsity))
    assert not any((np.asarray(found[k]) & ~mask[k]).any() for k in mask)
    active = sum(m.sum() for m in mask.values())
    wanted = (1 - sparsity) * 54
    assert abs(sum(int(m.sum()) for m in found.values()) - min(wanted, active)) <= 1


def test_a_gradient_that_overflowed_displaces_nothing():
    mask = {"w": jnp.array([False, True, True])}
    steep = {"w": jnp.array([jnp.inf, 0.0, jnp.nan])}
    found = updates.grow(steep, mask, {"w": 2})
    assert found["w"].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("magnitude", [2, 3]),
        ("gradient", [5, 1]),
        ("snip", [10, 3]),
        ("taylor", [100, 9]),
    ],
)
def test_importance_by_name_scores_every_weight(name, expected):
    assert updates.importance("drop", name)(NOW)["w"].tolist() == expected


def test_random_importance_follows_the_key_of_the_step():
    draw = updates.importance("drop", "random")
    first, other = draw(NOW)["w"], draw(NOW._replace(key=jax.random.key(1)))["w"]
    assert ((first >= 0) & (first < 1) & (first != other)).all()
    assert (first == draw(NOW)["w"]).all()


def test_unknown_importance_lists_the_known():
    with pytest.raises(ValueError, match=r"drop must be one of .*'taylor'.*'size'"):
        updates.importance("drop", "size")


@pytest.mark.parametrize("n", [1, 9, 10, 30, 100, 2_000_000])
def test_floor_is_that_of_the_decimal_number(n):
    assert int(updates.floor(0.3, jnp.int32(n))) == 3 * n // 10


NAN = {"w": jnp.array([0, 0, 0, 0, 1, jnp.nan, 3, 4])}
HALF = {"w": jnp.array([0, 0, 0, 0, 1, 1, 1, 1], bool)}


@pytest.mark.parametrize("distribution", ["uniform", "global"])
def test_a_weight_that_is_nan_lets_no_pruned_one_back(distribution):
    found = updates.prune(NAN, HALF, 0.5, distribution)
    assert (found["w"] == HALF["w"]).all()
    found = updates.prune(NAN, HALF, 0.625, distribution)
    assert found["w"].tolist() == [False] * 4 + [True, False, True, True]


@pytest.mark.parametrize(
    "structure",
    [
        structures.unstructured(),
        structures.block((1,)),
        structures.block((2,)),
        structures.channel("out"),
        structures.n_m(2, 4, axis=-1),
    ],
    ids=lambda structure: structure.name,
)
def test_no_structure_lets_a_pruned_weight_back(structure):
    found = updates.prune(NAN, HALF, 0.5, "uniform", structure)
    assert not (found["w"] & ~HALF["w"]).any()
    # A unit that is partly pruned stays so.
    mask = {"w": jnp.array([1, 0, 1, 1, 0, 1, 1, 1], bool)}
    score = {"w": jnp.arange(1.0, 9)}
    found = updates.prune(score, mask, 0.25, "uniform", structure)
    assert not (found["w"] & ~mask["w"]).any()
    assert found["w"].any()


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_nan_is_dropped_first_and_what_is_pruned_is_not_kept_for_it(scope):
    steep = {"w": jnp.array([0, 0, 5.0, 0, 0, 0, 0, 0])}
    found = updates.drop_and_grow(NAN, steep, HALF, 0.25, scope=scope)
    assert found["w"].tolist() == [False, False, True, False, True, False, True, True]
    found = updates.drop_and_grow(NAN, steep, HALF, 0.0, scope=scope)
    assert (found["w"] == HALF["w"]).all()


def test_pruning_respects_the_floor_of_a_layer():
    share_out = partial(distributions.joint, layer_floor=0.25)
    size = {"a": jnp.arange(8.0), "b": 10 + jnp.arange(8.0)}
    mask = {"a": jnp.ones(8, bool), "b": jnp.ones(8, bool)}
    for sparsity in (0.5, jnp.float32(0.5)):
        found = updates.prune(size, mask, sparsity, share_out)
        assert [int(m.sum()) for m in found.values()] == [2, 6]
        again = updates.prune(size, found, sparsity, share_out)
        assert all((again[k] == found[k]).all() for k in "ab")
    one = {"a": jnp.arange(8) == 3, "b": mask["b"]}  # less than its floor is left
    found = updates.prune(size, one, 0.5, share_out)
    assert (found["a"] == one["a"]).all()
    assert int(found["b"].sum()) == 7
