import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.penalties import transformed_l1


def test_limits_are_l0_and_l1():
    x = jnp.array([0.0, 0.3, -2.0])
    np.testing.assert_allclose(transformed_l1(x, a=1e-9), 2.0, rtol=1e-6)
    np.testing.assert_allclose(transformed_l1(x, a=1e9), 2.3, rtol=1e-6)


def test_a_is_differentiable_and_traced_without_recompiling():
    traces = []

    @jax.jit
    def slope(a):
        traces.append(a)
        return jax.grad(lambda a: transformed_l1(jnp.array([0.5, 2.0]), a=a))(a)

    h = 1e-3
    for a in (0.5, 1.0, 4.0):
        value = [transformed_l1(jnp.array([0.5, 2.0]), a=a + d) for d in (-h, h)]
        np.testing.assert_allclose(
            slope(a), (value[1] - value[0]) / (2 * h), rtol=1e-2, atol=1e-4
        )
    assert len(traces) == 1


@pytest.mark.parametrize("a", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_shape_parameter_is_named(a):
    with pytest.raises(ValueError, match="a must be a finite number > 0"):
        transformed_l1(jnp.ones(2), a=a)
