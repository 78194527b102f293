import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.penalties import hoyer_square


def test_counts_equal_entries_and_ignores_scale():
    x = jnp.array([1.0, 1.0, 1.0, 0.0])
    for scale in (1e-3, 1.0, 1e10, 1e30):
        np.testing.assert_allclose(hoyer_square(scale * x), 3.0, rtol=1e-3)


def test_small_entries_are_pushed_down_and_large_ones_up():
    slope = jax.grad(hoyer_square)(jnp.array([0.1, 2.0]))
    assert slope[0] > 0 > slope[1]


def test_bad_eps_is_named():
    with pytest.raises(ValueError, match="eps must be a finite number > 0"):
        hoyer_square(jnp.ones(2), eps=0.0)
