import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.pruning.distributions import erk, erk_densities, uniform

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
def test_uniform_is_within_half_a_weight(shapes, sparsity):
    for name, kept in uniform(shapes, sparsity).items():
        assert abs(kept - (1 - sparsity) * math.prod(shapes[name])) <= 0.5 + 1e-9
