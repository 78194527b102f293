"""What every proximal map must do. A new one is tested by adding its row."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import penalties as p


class Row(NamedTuple):
    prox: Callable[..., Any]
    penalty: Callable[..., Any]
    """The penalty of `s = |x|` in float64 NumPy."""


def _transformed_l1(s, a):
    return (a + 1) * s / (a + s)


def _mcp(s, lam, g):
    return np.where(s <= g * lam, lam * s - s * s / (2 * g), g * lam**2 / 2)


def _scad(s, lam, a):
    bent = (2 * a * lam * s - s * s - lam**2) / (2 * (a - 1))
    flat = np.where(s <= a * lam, bent, lam**2 * (a + 1) / 2)
    return np.where(s <= lam, lam * s, flat)


def _both(prox, penalty, **options):
    return Row(partial(prox, **options), partial(penalty, **options))


ROWS = {
    "l0": Row(p.prox_l0, lambda s: (s > 0) * 1.0),
    "l1": Row(p.prox_l1, lambda s: s),
    "l_half": Row(p.prox_l_half, np.sqrt),
    "l_two_thirds": Row(p.prox_l_two_thirds, lambda s: np.cbrt(s) ** 2),
    "transformed_l1 a=0.05": _both(p.prox_transformed_l1, _transformed_l1, a=0.05),
    "transformed_l1 a=1": _both(p.prox_transformed_l1, _transformed_l1, a=1.0),
    "transformed_l1 a=10": _both(p.prox_transformed_l1, _transformed_l1, a=10.0),
    "geman": _both(p.prox_geman, lambda s, gamma: s / (s + gamma), gamma=0.5),
    "log_sum eps=0.1": _both(p.prox_log_sum, lambda s, eps: np.log1p(s / eps), eps=0.1),
    "log_sum eps=2": _both(p.prox_log_sum, lambda s, eps: np.log1p(s / eps), eps=2.0),
    "laplace gamma=0.3": Row(
        partial(p.prox_laplace, gamma=0.3), lambda s: -np.expm1(-s / 0.3)
    ),
    "laplace gamma=2": Row(
        partial(p.prox_laplace, gamma=2.0), lambda s: -np.expm1(-s / 2)
    ),
    "cauchy gamma=0.1": Row(
        partial(p.prox_cauchy, gamma=0.1), lambda s: np.log1p((s / 0.1) ** 2)
    ),
    "cauchy gamma=2": Row(
        partial(p.prox_cauchy, gamma=2.0), lambda s: np.log1p((s / 2) ** 2)
    ),
    "mcp": Row(p.prox_mcp, partial(_mcp, lam=1.0, g=3.0)),
    "mcp gamma=0.5": Row(
        partial(p.prox_mcp, lam=2.0, gamma=0.5), partial(_mcp, lam=2.0, g=0.5)
    ),
    "scad": Row(p.prox_scad, partial(_scad, lam=1.0, a=3.7)),
    "scad a=2.5": _both(p.prox_scad, _scad, lam=0.5, a=2.5),
    "capped_l1": _both(
        p.prox_capped_l1, lambda s, theta: np.minimum(s, theta), theta=1.5
    ),
}
VECTOR_VALUED = {"l1_minus_l2", "group_lasso"}
SIZES = np.linspace(0, 6, 30_001)


@cache
def _jitted(name):
    def value_and_slope(y, strength):
        slope = jax.grad(lambda y: ROWS[name].prox(y, strength).sum())
        return ROWS[name].prox(y, strength), slope(y)

    return jax.jit(value_and_slope)


def _value_and_slope(name, y, strength):
    """Of one length and dtype for all tests, so that a row compiles once."""
    padded = np.zeros(64, np.float32)
    padded[: len(y)] = y
    found = _jitted(name)(padded, np.float32(strength))
    return tuple(np.asarray(x)[: len(y)] for x in found)


@cache
def _penalty_of_sizes(name):
    return ROWS[name].penalty(SIZES)


def _objective(name, x, y, strength):
    return (x - y) ** 2 / 2 + strength * ROWS[name].penalty(np.abs(x))


def test_every_prox_has_a_row():
    tested = {name.split()[0] for name in ROWS} | VECTOR_VALUED
    exported = {name.removeprefix("prox_") for name in p.__all__ if "prox_" in name}
    assert tested == exported - {"get_prox"}


@pytest.mark.slow
@settings(max_examples=80)
@given(st.floats(-5, 5, width=32), st.floats(0, 3, width=32))
@pytest.mark.parametrize("name", ROWS)
def test_prox_is_the_brute_force_argmin(name, y, strength):
    found = float(_value_and_slope(name, [y], strength)[0][0])
    # All sizes with the sign of y, and the other sign can only be worse.
    best = (SIZES - abs(y)) ** 2 / 2 + strength * _penalty_of_sizes(name)
    assert _objective(name, found, y, strength) <= best.min() + 1e-5


# Each takes its shape parameter, which may be a column.
SHAPED = {
    "transformed_l1": (p.prox_transformed_l1, "a", _transformed_l1),
    "geman": (p.prox_geman, "gamma", lambda s, g: s / (s + g)),
    "log_sum": (p.prox_log_sum, "eps", lambda s, e: np.log1p(s / e)),
    "laplace": (p.prox_laplace, "gamma", lambda s, g: -np.expm1(-s / g)),
    "cauchy": (p.prox_cauchy, "gamma", lambda s, g: np.log1p((s / g) ** 2)),
    "mcp": (p.prox_mcp, "gamma", lambda s, g: _mcp(s, 1.0, g)),
    "scad": (p.prox_scad, "a", lambda s, a: _scad(s, 1.0, 2.1 + a)),
    "capped_l1": (p.prox_capped_l1, "theta", np.minimum),
    "l1": (p.prox_l1, None, lambda s, _: s),
    "l_half": (p.prox_l_half, None, lambda s, _: np.sqrt(s)),
    "l_two_thirds": (p.prox_l_two_thirds, None, lambda s, _: np.cbrt(s) ** 2),
}


@pytest.mark.parametrize("name", SHAPED)
def test_prox_is_the_argmin_at_any_ratio_of_size_strength_and_shape(name):
    prox, option, penalty = SHAPED[name]
    draws = np.exp(np.random.default_rng(0).uniform(-14, 14, (3, 300)))
    y, strength, shape = draws.astype(np.float32)
    options = {option: shape + 2.1 * (name == "scad")} if option else {}
    found = np.asarray(jax.jit(prox)(y, strength, **options), np.float64)[:, None]
    y, strength, shape = draws.astype(np.float32).astype(np.float64)[..., None]

    def objective(x):
        return (x - y) ** 2 / 2 + strength * penalty(x, shape)

    shares = np.concatenate([np.linspace(0, 1, 1001), np.geomspace(1e-9, 1, 1000)])
    candidates = np.hstack([y * shares, y * (1 - shares), np.minimum(shape, y)])
    best = objective(candidates).min(1, keepdims=True)
    rounding = 1e-13 * y**2  # of float32, at a parabola's foot
    assert (objective(found) <= best * (1 + 1e-5) + rounding).all()


@pytest.mark.parametrize(
    ("y", "strength", "eps", "right"),
    [(0.3, 0.5, 1e6, 0.2999995), (5e-4, 2.4e-4, 656.0, 4.9963e-4)],
)
def test_prox_log_sum_does_not_cancel_at_large_eps(y, strength, eps, right):
    found, slope = jax.value_and_grad(p.prox_log_sum)(y, strength, eps=eps)
    assert found == pytest.approx(right, rel=1e-5)
    assert slope == pytest.approx(1, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_odd_shrinking_and_the_identity_at_strength_zero(name):
    y = np.random.default_rng(0).normal(scale=2, size=64).astype(np.float32)
    found = _value_and_slope(name, y, 1.0)[0]
    assert (found == -_value_and_slope(name, -y, 1.0)[0]).all()
    assert (abs(found) <= abs(y)).all()
    assert (found * y >= 0).all()
    assert (_value_and_slope(name, np.zeros(64), 1.0)[0] == 0).all()
    np.testing.assert_allclose(_value_and_slope(name, y, 0.0)[0], y, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_finite_with_finite_slopes_at_any_scale(name):
    sizes = np.array([0, 1e-45, 1e-38, 1e-20, 1e-3, 1, 1e4, 1e18, 1e30, 1e38])
    y = np.append(sizes, -sizes).astype(np.float32)
    for strength in (0.0, 1e-3, 1.0):
        found, slope = _value_and_slope(name, y, strength)
        assert np.isfinite(found).all()
        assert np.isfinite(slope).all()
        # Far out every penalty but l1 pulls less and less.
        np.testing.assert_allclose(found[8:10], y[8:10], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_slope_is_the_difference_quotient(name):
    y, h = np.linspace(3.8, 5, 20), 1e-2  # where no row has a jump or a kink
    above, below = (_value_and_slope(name, y + d, 1.0)[0] for d in (h, -h))
    slope = _value_and_slope(name, y, 1.0)[1]
    np.testing.assert_allclose(slope, (above - below) / (2 * h), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_eager_half_precision_and_nan(name):
    y = jnp.array([2.0, -0.25, jnp.nan], jnp.bfloat16)
    found = ROWS[name].prox(y, 1.0)
    assert found.dtype == jnp.bfloat16
    wide = _value_and_slope(name, np.asarray(y, np.float32), 1.0)[0]
    assert np.isnan(wide[2])
    np.testing.assert_allclose(np.asarray(found, np.float32), wide, rtol=2**-8)


@pytest.mark.parametrize("name", [*(n for n in p.names() if f"prox_{n}" in dir(p))])
def test_a_negative_strength_is_named(name):
    with pytest.raises(ValueError, match="strength must be a finite number >= 0"):
        p.get_prox(name)(jnp.ones(2), -1.0)
