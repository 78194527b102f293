"""What every penalty must do. A new one is tested by adding its row."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax import penalties


def _l1(x):
    return np.abs(x).sum(), np.sign(x)


def _transformed_l1(x, a):
    size = np.abs(x)
    value = ((a + 1) * size / (a + size)).sum()
    return value, a * (a + 1) * np.sign(x) / (a + size) ** 2


def _hoyer_square(x, eps=1e-10):
    s1, s2 = np.abs(x).sum(), (x * x).sum() + eps
    return s1 * s1 / s2, 2 * np.sign(x) * s1 / s2 - 2 * x * (s1 / s2) ** 2


# name: (penalty, (value, gradient) in float64, entries add up)
MEMBERS = {
    "l1": (penalties.l1, _l1, True),
    "hoyer_square": (penalties.hoyer_square, _hoyer_square, False),
    "transformed_l1 a=1": (
        penalties.transformed_l1,
        partial(_transformed_l1, a=1.0),
        True,
    ),
    "transformed_l1 a=0.01": (
        partial(penalties.transformed_l1, a=0.01),
        partial(_transformed_l1, a=0.01),
        True,
    ),
    "transformed_l1 a=100": (
        partial(penalties.transformed_l1, a=100.0),
        partial(_transformed_l1, a=100.0),
        True,
    ),
}

vectors = hnp.arrays(
    np.float32,
    st.integers(1, 12),
    elements=st.one_of(
        st.just(0.0),
        st.floats(-100, 100, width=32).filter(lambda v: abs(v) > 1e-3),
    ),
)


@pytest.fixture(params=MEMBERS.values(), ids=MEMBERS.keys())
def member(request):
    return request.param


@settings(max_examples=50, deadline=None)
@given(vectors)
@pytest.mark.parametrize("name", MEMBERS)
def test_value_and_gradient_equal_float64(name, x):
    penalty, reference, _ = MEMBERS[name]
    value, slope = reference(x.astype(np.float64))
    np.testing.assert_allclose(penalty(jnp.asarray(x)), value, rtol=1e-5)
    grad = jax.grad(penalty)(jnp.asarray(x))
    # Hoyer's slope is a difference of two terms: its error scales with the terms.
    terms = 2 * x.size if name == "hoyer_square" else 1.0
    scale = terms / abs(x).max() if x.any() else 0.0
    np.testing.assert_allclose(grad, slope, rtol=1e-4, atol=1e-5 * scale)


def test_zero_at_zero_with_zero_gradient(member):
    penalty, *_ = member
    x = jnp.zeros(4)
    assert penalty(x) == 0
    assert (jax.grad(penalty)(x) == 0).all()
    assert (jax.grad(penalty)(-x) == 0).all()


def test_even_and_nonnegative(member):
    penalty, *_ = member
    x = jax.random.normal(jax.random.key(0), (64,))
    assert penalty(x) == penalty(-x)
    assert penalty(x) > 0


@pytest.mark.parametrize(
    "value", [0.0, 1e-45, 1e-38, 1e-20, 1e-6, 1.0, 1e6, 1e18, 1e30]
)
def test_finite_at_any_scale(member, value):
    penalty, *_ = member
    x = jnp.array([value, -value, 0.0, 0.5 * value])
    curvature = jax.jvp(jax.grad(penalty), (x,), (jnp.ones_like(x),))[1]
    for found in (penalty(x), jax.grad(penalty)(x), curvature):
        assert jnp.isfinite(found).all()


def test_axis_reduces_those_axes(member):
    penalty, *_ = member
    x = jax.random.normal(jax.random.key(1), (3, 4, 5))
    rows = penalty(x, axis=(1, 2))
    assert rows.shape == (3,)
    one_by_one = jnp.stack([penalty(row) for row in x])
    np.testing.assert_allclose(rows, one_by_one, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(penalty)(x), one_by_one, rtol=1e-6)


def test_separable_penalties_add_up(member):
    penalty, _, separable = member
    x = jax.random.normal(jax.random.key(2), (6,)) + 2
    parts = sum(penalty(entry[None]) for entry in x)
    assert (abs(parts - penalty(x)) < 1e-4) == separable


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_accumulates_in_float32(member, dtype):
    penalty, *_ = member
    x = jnp.full(100_000, 0.5, dtype)  # a bfloat16 sum would stick at 128
    found = penalty(x)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, penalty(x.astype(jnp.float32)), rtol=1e-6)
    assert jax.grad(penalty)(x).dtype == dtype


def test_jit_equals_eager(member):
    penalty, *_ = member
    x = jax.random.normal(jax.random.key(3), (32,))
    np.testing.assert_allclose(jax.jit(penalty)(x), penalty(x), rtol=1e-6)
