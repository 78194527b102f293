import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.penalties import prox_l1


@settings(max_examples=50, deadline=None)
@given(st.floats(-5, 5), st.floats(0, 3))
def test_prox_is_the_brute_force_argmin(y, strength):
    grid = np.append(np.linspace(-6, 6, 200_001), 0.0)

    def objective(x):
        return (x - y) ** 2 / 2 + strength * np.abs(x)

    found = float(prox_l1(jnp.float32(y), strength))
    assert objective(found) <= objective(grid).min() + 1e-6
