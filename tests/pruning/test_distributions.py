import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.pruning.distributions import (
    by_name,
    er,
    erk,
    erk_densities,
    joint,
    uniform,
    within,
)
from dst_jax.pruning.integer_shares import budget

SHAPES = {
    "c1": (3, 3, 3, 64),
    "c2": (3, 3, 64, 64),
    "c3": (3, 3, 64, 128),
    "fc": (128, 10),
}


@pytest.mark.parametrize(
    ("density", "expected"),
    [(0.1, [1.0, 0.09145, 0.06757, 1.0]), (0.01, [0.08854, 0.00762, 0.00563, 0.22595])],
)
def test_erk_densities_of_the_public_code(density, expected):
    found = erk_densities(SHAPES, 1 - density)
    assert [round(d, 5) for d in found.values()] == pytest.approx(expected, abs=1.1e-5)


shapes = st.dictionaries(
    st.text("abc", min_size=1, max_size=2),
    st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 20)),
    min_size=1,
)


@settings(max_examples=200, deadline=None)
@given(shapes, st.floats(0, 0.999))
def test_erk_meets_the_target_within_every_layer(shapes, sparsity):
    kept = erk(shapes, sparsity)
    sizes = {k: math.prod(s) for k, s in shapes.items()}
    target = math.floor((1 - sparsity) * sum(sizes.values()) + 0.5)
    assert sum(kept.values()) == target
    assert all(0 <= kept[k] <= sizes[k] for k in shapes)


@settings(max_examples=50, deadline=None)
@given(shapes, st.floats(0, 0.999))
def test_uniform_is_within_a_weight_and_exact_in_all(shapes, sparsity):
    kept = uniform(shapes, sparsity)
    sizes = {k: math.prod(s) for k, s in shapes.items()}
    for name, n in kept.items():
        assert abs(n - (1 - sparsity) * sizes[name]) < 1 + 1e-9
    assert sum(kept.values()) == _target(sizes, sparsity)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 2**31 - 1), st.floats(0, 1, width=32))
def test_a_traced_budget_is_exact_to_a_rounding(total, sparsity):
    found = int(budget(total, jnp.float32(sparsity)))
    # 24 bits of the sparsity count; below 1/2 it may have more.
    exact = (1 - round(sparsity * 2**24) / 2**24) * total
    assert abs(found - exact) <= 0.5 + 2e-4


def test_a_traced_budget_of_a_large_network():
    assert int(budget(23_454_912, jnp.float32(0.9))) == pytest.approx(2_345_491, abs=1)
    assert budget(23_454_912, 0.9) == 2_345_491


@pytest.mark.slow
@pytest.mark.parametrize("name", ["uniform", "erk", "er"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9, 0.99, 0.999, 1.0])
def test_arrays_share_out_as_numbers_do(name, sparsity):
    share_out = by_name(name)
    numbers = share_out(SHAPES, sparsity)
    arrays = {k: int(n) for k, n in share_out(SHAPES, jnp.float32(sparsity)).items()}
    assert abs(sum(arrays.values()) - sum(numbers.values())) <= 1
    for k, n in numbers.items():
        assert isinstance(n, int)
        assert abs(arrays[k] - n) <= 1
        assert 0 <= arrays[k] <= math.prod(SHAPES[k])


def test_erk_equals_a_search_for_its_epsilon():
    sizes = np.array([math.prod(s) for s in SHAPES.values()])
    sums = np.array([sum(s) for s in SHAPES.values()])
    for sparsity in (0.5, 0.8, 0.9, 0.95, 0.99):
        target = _target(dict(enumerate(sizes)), sparsity)
        low, high = 0.0, 1e9
        for _ in range(200):
            eps = (low + high) / 2
            if np.minimum(sizes, eps * sums).sum() < target:
                low = eps
            else:
                high = eps
        exact = np.minimum(sizes, low * sums)
        found = np.array(list(erk(SHAPES, sparsity).values()))
        assert (abs(found - exact) < 1).all()


def test_er_by_hand():
    # weights: conv 9 * (4 + 8) = 108, fc 8 + 10 = 18; a tenth of 368 is 37
    assert er({"conv": (3, 3, 4, 8), "fc": (8, 10)}, 0.9) == {"conv": 32, "fc": 5}


@pytest.mark.parametrize("share_out", [uniform, erk, er])
def test_dense_and_given_layers_leave_the_total(share_out):
    sizes = {k: math.prod(s) for k, s in SHAPES.items()}
    kept = share_out(SHAPES, 0.9, densities=[("c2", 0.125)], dense=["c1", "c2"])
    assert kept["c1"] == sizes["c1"]
    assert kept["c2"] == sizes["c2"] // 8  # the first match wins
    assert sum(kept.values()) == _target(sizes, 0.9)
    arrays = share_out(SHAPES, jnp.float32(0.9), dense=["c1"])
    assert arrays["c1"] == sizes["c1"]
    assert abs(int(sum(arrays.values())) - _target(sizes, 0.9)) <= 1


def test_given_layers_that_leave_no_room_are_refused():
    with pytest.raises(ValueError, match="keeps 1126 of 112560 weights"):
        uniform({"a": (100, 1000), "b": (12560,)}, 0.99, dense=["b"])
    with pytest.raises(ValueError, match="'d' matches none of: c1"):
        erk({"c1": (3, 3)}, 0.5, dense=["d"])
    with pytest.raises(ValueError, match=r"density of 'c' must be in \[0, 1\], got 2"):
        erk({"c1": (3, 3)}, 0.5, densities=[("c", 2)])


def test_joint_leaves_given_layers_out_of_the_competition():
    kept = joint(SHAPES, 0.5, dense=["fc"])
    assert kept == {"fc": 1280, "": 113_600 // 2 - 1280}


def test_unknown_distribution_lists_the_known():
    with pytest.raises(
        ValueError, match=r"distribution must be one of .*'erk'.*'earth'"
    ):
        by_name("earth")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=3)
)
def test_within_moves_what_does_not_fit(pairs):
    kept = {str(i): a for i, (a, _) in enumerate(pairs)}
    most = {str(i): b for i, (_, b) in enumerate(pairs)}
    found = {k: int(n) for k, n in within(kept, most).items()}
    assert all(found[k] <= most[k] for k in kept)
    assert all(found[k] >= min(kept[k], most[k]) for k in kept)
    assert sum(found.values()) == min(sum(kept.values()), sum(most.values()))


@pytest.mark.parametrize("share_out", [uniform, erk, er])
def test_layers_without_weights_keep_none(share_out):
    shapes = {"a": (0, 3), "b": (8, 8), "c": (4, 0), "d": (4, 4)}
    without = {k: shapes[k] for k in "bd"}
    expected = share_out(without, 0.5)
    assert share_out(shapes, 0.5) == {"a": 0, "c": 0, **expected}
    arrays = share_out(shapes, jnp.float32(0.5))
    assert {k: int(n) for k, n in arrays.items()} == {"a": 0, "c": 0, **expected}
    assert share_out({"a": (0, 3)}, 0.5) == {"a": 0}
    assert joint(shapes, 0.5) == {"a": 0, "c": 0, "": 40}
    densities = erk_densities(shapes, 0.5)
    assert densities["a"] == densities["c"] == 1
    assert densities["b"] == erk_densities(without, 0.5)["b"]


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(shapes, st.floats(0, 0.95), st.floats(0, 1))
@pytest.mark.parametrize("share_out", [uniform, erk, er])
def test_every_layer_keeps_its_floor_and_the_sum_is_exact(
    share_out, shapes, sparsity, part
):
    floor = part * (1 - sparsity)
    sizes = {k: math.prod(s) for k, s in shapes.items()}
    floors = {k: math.ceil(floor * n - 1e-9) for k, n in sizes.items()}
    target = _target(sizes, sparsity)
    if sum(floors.values()) > target:
        with pytest.raises(ValueError, match="layer_floor must leave room"):
            share_out(shapes, sparsity, layer_floor=floor)
        return
    plain = share_out(shapes, sparsity)
    kept = share_out(shapes, sparsity, layer_floor=floor)
    assert sum(kept.values()) == target
    for k, n in kept.items():
        assert floors[k] <= n <= sizes[k]
        assert n <= max(plain[k], floors[k])  # others give, none gains
    arrays = share_out(shapes, jnp.float32(sparsity), layer_floor=floor)
    assert abs(sum(map(int, arrays.values())) - target) <= 1


def test_a_floor_of_nothing_changes_nothing():
    for share_out in (uniform, erk, er, joint):
        assert share_out(SHAPES, 0.9, layer_floor=0.0) == share_out(SHAPES, 0.9)
    with pytest.raises(ValueError, match=r"layer_floor must be in \[0, 1\], got 2"):
        erk(SHAPES, 0.9, layer_floor=2)


def test_more_weights_than_an_int32_counts():
    shapes = {"a": (2**16, 2**16), "b": (2**16, 2**15), "c": (10, 10)}
    total = sum(map(math.prod, shapes.values()))
    for share_out in (uniform, erk, er):
        kept = share_out(shapes, 0.5)
        assert sum(kept.values()) == total // 2
        with pytest.raises(ValueError, match="sparsity must be a number for more than"):
            share_out(shapes, jnp.float32(0.5))
    with pytest.raises(ValueError, match='"global" compares at most 2147483647 weig'):
        joint(shapes, 0.5)
    assert joint(shapes, 0.5, densities=[("a|b", 0.5)])[""] == 50


def _target(sizes, sparsity):
    return math.floor((1 - sparsity) * sum(sizes.values()) + 0.5)
