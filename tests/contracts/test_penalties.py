"""What every penalty must do. A new one is tested by adding its row."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax import penalties


class Member(NamedTuple):
    """A penalty, and float64 NumPy that says what it should be."""

    penalty: Callable[..., Any]
    reference: Callable[..., tuple[Any, Any]]
    """Value and gradient."""
    separable: bool = True
    per_example: bool = True
    steepest: float = 0.0
    """The largest slope: gradients are differences of terms of that size."""


def _entries(penalty, value, slope):
    """A member that is a sum over entries of `value(|x|)`."""

    def reference(x):
        size = np.abs(x)
        return value(size).sum(), np.sign(x) * slope(size)

    return Member(penalty, reference, steepest=slope(np.geomspace(1e-12, 1e3)).max())


def _lp(p, eps):
    return (
        lambda s: eps**p * np.expm1(p * np.log1p(s / eps)),
        lambda s: p * (s + eps) ** (p - 1),
    )


def _transformed_l1(a):
    return lambda s: (a + 1) * s / (a + s), lambda s: a * (a + 1) / (a + s) ** 2


def _log_sum(e):
    return lambda s: np.log1p(s / e), lambda s: 1 / (e + s)


def _cauchy(g):
    return lambda s: np.log1p((s / g) ** 2), lambda s: 2 * s / (g * g + s * s)


def _mcp(lam, g):
    def value(s):
        return np.where(s <= g * lam, lam * s - s * s / (2 * g), g * lam**2 / 2)

    return value, lambda s: np.maximum(lam - s / g, 0)


def _scad(lam, a):
    def value(s):
        bent = (2 * a * lam * s - s * s - lam**2) / (2 * (a - 1))
        flat = lam**2 * (a + 1) / 2
        return np.where(s <= lam, lam * s, np.where(s <= a * lam, bent, flat))

    def slope(s):
        bent = np.maximum(a * lam - s, 0) / (a - 1)
        return np.where(s <= lam, lam, bent)

    return value, slope


def _hoyer_square(x, eps=1e-10):
    s1, s2 = np.abs(x).sum(), (x * x).sum() + eps
    return s1 * s1 / s2, 2 * np.sign(x) * s1 / s2 - 2 * x * (s1 / s2) ** 2


def _hoyer(x, eps=1e-10):
    s1, norm = np.abs(x).sum(), np.sqrt((x * x).sum() + eps)
    return s1 / norm, np.sign(x) / norm - x * s1 / norm**3


def _l1_minus_l2(x, alpha):
    norm = np.sqrt((x * x).sum())
    slope = np.sign(x) - alpha * x / (norm if norm > 0 else 1)
    return np.abs(x).sum() - alpha * norm, slope


def _l1(s):
    return s


def _ones(s):
    return np.ones_like(s)


P, B = penalties, partial
MEMBERS = {
    "l0": _entries(P.l0, lambda s: (s > 0).astype(s.dtype), lambda s: 0 * s),
    "l1": _entries(P.l1, _l1, _ones),
    "lp p=0.1": _entries(B(P.lp, p=0.1), *_lp(0.1, 1e-3)),
    "lp p=1": _entries(B(P.lp, p=1.0), _l1, _ones),
    "l_half": _entries(P.l_half, *_lp(1 / 2, 1e-3)),
    "l_half eps=1e-6": _entries(B(P.l_half, eps=1e-6), *_lp(1 / 2, 1e-6)),
    "l_two_thirds": _entries(P.l_two_thirds, *_lp(2 / 3, 1e-3)),
    "transformed_l1 a=1": _entries(P.transformed_l1, *_transformed_l1(1.0)),
    "transformed_l1 a=0.01": _entries(
        B(P.transformed_l1, a=0.01), *_transformed_l1(0.01)
    ),
    "transformed_l1 a=100": _entries(
        B(P.transformed_l1, a=100.0), *_transformed_l1(100.0)
    ),
    "geman": _entries(
        B(P.geman, gamma=0.5), lambda s: s / (s + 0.5), lambda s: 0.5 / (s + 0.5) ** 2
    ),
    "log_sum": _entries(P.log_sum, *_log_sum(0.1)),
    "log_sum eps=1e-6": _entries(B(P.log_sum, eps=1e-6), *_log_sum(1e-6)),
    "laplace": _entries(
        B(P.laplace, gamma=0.5),
        lambda s: -np.expm1(-s / 0.5),
        lambda s: np.exp(-s / 0.5) / 0.5,
    ),
    "cauchy": _entries(P.cauchy, *_cauchy(1.0)),
    "cauchy gamma=0.01": _entries(B(P.cauchy, gamma=0.01), *_cauchy(0.01)),
    "mcp": _entries(P.mcp, *_mcp(1.0, 3.0)),
    "mcp lam=2": _entries(B(P.mcp, lam=2.0, gamma=0.7), *_mcp(2.0, 0.7)),
    "scad": _entries(P.scad, *_scad(1.0, 3.7)),
    "scad lam=2": _entries(B(P.scad, lam=2.0, a=2.5), *_scad(2.0, 2.5)),
    "capped_l1": _entries(
        P.capped_l1, lambda s: np.minimum(s, 1), lambda s: (s < 1) * 1.0
    ),
    "hoyer": Member(P.hoyer, _hoyer, separable=False),
    "hoyer_square": Member(P.hoyer_square, _hoyer_square, separable=False),
    "hoyer_square_batch": Member(
        P.hoyer_square_batch, _hoyer_square, separable=False, per_example=False
    ),
    "l1_minus_l2": Member(
        P.l1_minus_l2, B(_l1_minus_l2, alpha=1.0), separable=False, steepest=1.0
    ),
    "l1_minus_l2 alpha=0.5": Member(
        B(P.l1_minus_l2, alpha=0.5),
        B(_l1_minus_l2, alpha=0.5),
        separable=False,
        steepest=1.0,
    ),
    "group_lasso": _entries(P.group_lasso, _l1, _ones),  # every entry is a group
}

# Of one length, so that a member compiles once.
vectors = hnp.arrays(
    np.float32,
    8,
    elements=st.one_of(
        st.just(0.0),
        st.floats(-100, 100, width=32).filter(lambda v: abs(v) > 1e-3),
    ),
)


@cache
def _value_and_grad(name):
    return jax.jit(jax.value_and_grad(MEMBERS[name].penalty))


@cache
def _curvature(name):
    grad = jax.grad(MEMBERS[name].penalty)
    return jax.jit(lambda x: jax.jvp(grad, (x,), (jnp.ones_like(x),))[1])


def test_every_penalty_has_a_row():
    tested = {name.split()[0] for name in MEMBERS}
    assert tested == set(penalties.names())


@pytest.mark.slow
@settings(max_examples=30)
@given(vectors)
@pytest.mark.parametrize("name", MEMBERS)
def test_value_and_gradient_equal_float64(name, x):
    value, slope = MEMBERS[name].reference(x.astype(np.float64))
    found, grad = _value_and_grad(name)(x)
    cancelled = 1e-6 * abs(x).sum() if name.startswith("l1_minus_l2") else 0.0
    np.testing.assert_allclose(found, value, rtol=1e-5, atol=cancelled)
    # Hoyer's slope is a difference of two terms: its error scales with the terms.
    terms = 2 * x.size / abs(x).max() if x.any() and name.startswith("hoyer") else 0.0
    atol = 1e-5 * terms + 1e-6 * MEMBERS[name].steepest
    np.testing.assert_allclose(grad, slope, rtol=1e-4, atol=atol)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_zero_at_zero_with_zero_gradient(name):
    for zeros in (np.zeros(8, np.float32), -np.zeros(8, np.float32)):
        value, grad = _value_and_grad(name)(zeros)
        assert value == 0
        assert (grad == 0).all()


@pytest.mark.parametrize("name", MEMBERS)
def test_even_and_nonnegative(name):
    x = np.random.default_rng(0).normal(size=8).astype(np.float32)
    value, grad = _value_and_grad(name)(x)
    mirrored, mirrored_grad = _value_and_grad(name)(-x)
    assert value == mirrored > 0
    assert (grad == -mirrored_grad).all()


SCALES = [0.0, 1e-45, 1e-38, 1e-30, 1e-20, 1e-6, 1.0, 1e6, 1e18, 1e30, 1e38]


@pytest.mark.slow
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MEMBERS)
def test_finite_and_correct_at_any_scale(name, scale):
    x = np.array([scale, -scale, 0.0, 0.5 * scale] * 2, np.float32) / 2
    value, grad = _value_and_grad(name)(x)
    for found in (value, grad, _curvature(name)(x)):
        assert jnp.isfinite(found).all()
    if scale > 1e-37:  # below it are subnormals, 0 on devices that flush them
        expected, slope = MEMBERS[name].reference(x.astype(np.float64))
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-36)
        np.testing.assert_allclose(grad, slope, rtol=1e-4, atol=1e-36)


EXTREME = {
    "transformed_l1": "a",
    "geman": "gamma",
    "log_sum": "eps",
    "laplace": "gamma",
    "cauchy": "gamma",
    "lp": "eps",
    "l_half": "eps",
    "l_two_thirds": "eps",
    "hoyer": "eps",
    "hoyer_square": "eps",
    "hoyer_square_batch": "eps",
    "capped_l1": "theta",
    "mcp": "gamma",
    "l0": None,
    "l1": None,
    "l1_minus_l2": None,
    "group_lasso": None,
    "scad": None,
}


def test_every_penalty_is_tested_at_extreme_parameters():
    assert set(EXTREME) == set(penalties.names())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize("name", EXTREME)
def test_derivatives_are_finite_at_extreme_parameters(name, dtype):
    option, penalty = EXTREME[name], penalties.get(name)
    sizes = np.array([*SCALES, 6e-8, 1e-3, 6e4])
    sizes = sizes[sizes <= float(jnp.finfo(dtype).max)]

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    @partial(jax.vmap, in_axes=(None, 0))
    def derivatives(x, parameter):
        options = {option: parameter} if option else {}
        grad = jax.grad(partial(penalty, **options))
        return jax.jvp(grad, (x,), (jnp.ones_like(x),))

    x = jnp.asarray(np.outer(sizes, [1.0, -1.0, 0.0, 0.5]), dtype)
    parameters = jnp.array([1e-18, 1e-12, 1e-6, 1e-3, 1.0, 1e6, 1e18], jnp.float32)
    for found in derivatives(x, parameters):
        assert found.dtype == dtype
        assert jnp.isfinite(found).all()


def test_slopes_beyond_half_precision_are_its_largest_number():
    x = jnp.array([0.0, 6e-8, -6e-8, 1.0], jnp.float16)
    penalty = partial(penalties.log_sum, eps=1e-6)
    most = float(jnp.finfo(jnp.float16).max)
    assert jax.grad(penalty)(x).tolist() == [0.0, most, -most, 1.0]
    weak = jax.grad(lambda x: 1e-3 * penalty(x))(x)  # a strength comes before
    np.testing.assert_allclose(weak[1], 1e3 / 1.06, rtol=2e-2)


@pytest.mark.slow
@pytest.mark.parametrize("name", MEMBERS)
def test_axis_reduces_those_axes(name):
    if not MEMBERS[name].per_example:
        pytest.skip("the whole batch is one vector")
    penalty = MEMBERS[name].penalty

    @jax.jit
    def reduced(x):
        rows = penalty(x, axis=(1, 2)), penalty(x, axis=[-2, 2]), jax.vmap(penalty)(x)
        return rows, penalty(x[1])

    rows, alone = reduced(jax.random.normal(jax.random.key(1), (3, 4, 5)))
    for found in rows:
        assert found.shape == (3,)
        np.testing.assert_allclose(found[1], alone, rtol=1e-6)
        np.testing.assert_allclose(found, rows[0], rtol=1e-6)


@pytest.mark.parametrize("name", MEMBERS)
def test_separable_penalties_add_up(name):
    x = np.random.default_rng(2).normal(size=8).astype(np.float32) + 2
    apart = np.diag(x)  # the entries one by one, among zeros
    parts = sum(_value_and_grad(name)(row)[0] for row in apart)
    whole = _value_and_grad(name)(x)[0]
    assert (abs(parts - whole) < 1e-4) == MEMBERS[name].separable


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", MEMBERS)
def test_half_precision_accumulates_in_float32(name, dtype):
    x = jnp.full(100_000, 0.5, dtype)  # a bfloat16 sum would stick at 128
    found, grad = _value_and_grad(name)(x)
    assert found.dtype == jnp.float32
    assert grad.dtype == dtype
    expected, _ = MEMBERS[name].reference(np.asarray(x, np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", penalties.names())
def test_an_empty_array_is_an_error(name):
    with pytest.raises(ValueError, match=r"at least one entry, got shape \(0, 3\)"):
        penalties.get(name)(jnp.ones((0, 3)))


@pytest.mark.parametrize("name", MEMBERS)
def test_jit_equals_eager(name):
    x = np.random.default_rng(3).normal(size=8).astype(np.float32)
    eager = MEMBERS[name].penalty(jnp.asarray(x))
    np.testing.assert_allclose(_value_and_grad(name)(x)[0], eager, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("eps", [1e-30, 1e-3, 1e4])
@pytest.mark.parametrize("p", [1 / 2, 2 / 3])
def test_roots_are_the_powers(p, eps):
    """Exponents with formulas of their own: values and slopes equal float64's."""
    x = np.array([1e-35, -1e-6, 0.3, 50.0, -1e30])

    def value(x, eps):
        return penalties.lp(x, p=p, eps=eps, axis=())

    near = jnp.float32(eps)
    size, shift = np.abs(x), float(near)
    inputs = jnp.asarray(x, jnp.float32)
    wanted = shift**p * np.expm1(p * np.log1p(size / shift))
    np.testing.assert_allclose(value(inputs, near), wanted, rtol=1e-5)
    by_x = jax.grad(lambda x: value(x, near).sum())(inputs)
    slope = p * (size + shift) ** (p - 1)
    np.testing.assert_allclose(by_x, np.sign(x) * slope, rtol=1e-5)
    by_eps = jax.jacfwd(value, argnums=1)(inputs, near)
    fall = p * shift ** (p - 1) * np.expm1((p - 1) * np.log1p(size / shift))
    np.testing.assert_allclose(by_eps, fall, rtol=1e-5, atol=1e-40)
    program = str(jax.make_jaxpr(jax.grad(lambda x: value(x, eps).sum()))(inputs))
    assert "log1p" not in program
    assert " pow " not in program
