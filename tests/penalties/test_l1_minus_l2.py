import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dst_jax.penalties import l1_minus_l2, prox_l1, prox_l1_minus_l2

PROX = jax.jit(prox_l1_minus_l2)
GRID = np.stack(np.meshgrid(*[np.linspace(-3.2, 3.2, 641)] * 2), -1).reshape(-1, 2)


def _objective(x, y, strength, alpha):
    penalty = np.abs(x).sum(-1) - alpha * np.sqrt((x * x).sum(-1))
    return ((x - y) ** 2).sum(-1) / 2 + strength * penalty


@settings(max_examples=40)
@given(
    st.tuples(st.floats(-3, 3, width=32), st.floats(-3, 3, width=32)),
    st.floats(0, 2, width=32),
    st.floats(0, 1, width=32),
)
@example((0.5, 0.5), 1.0, 1.0)  # one of two equal entries stays
@example((0.25, -0.125), 1.0, 0.5)  # none does
def test_prox_is_the_brute_force_argmin(y, strength, alpha):
    y = np.array(y, np.float32)
    found = np.asarray(
        PROX(y, np.float32(strength), alpha=np.float32(alpha)), np.float64
    )
    best = _objective(GRID, y, strength, alpha).min()
    assert _objective(found, y, strength, alpha) <= best + 1e-5


def test_alpha_zero_is_l1():
    y = jnp.array([[0.5, -2.0], [1.5, 0.0]])
    found = PROX(y, 1.0, alpha=0.0)
    np.testing.assert_allclose(found, prox_l1(y, 1.0), atol=1e-7)
    np.testing.assert_allclose(l1_minus_l2(y, alpha=0.0), 4.0)


def test_one_nonzero_costs_nothing():
    assert l1_minus_l2(jnp.array([0.0, -7.3, 0.0])) == 0


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_bad_alpha_is_named(alpha):
    with pytest.raises(ValueError, match=r"alpha must be a finite number in \[0, 1\]"):
        l1_minus_l2(jnp.ones(2), alpha=alpha)
