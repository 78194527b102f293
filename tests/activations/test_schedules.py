import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.activations import relu_to_fat_relu, sine_stages
from dst_jax.typing import Schedule


def test_constant_in_the_warm_up_then_half_periods_of_a_sine():
    schedule = sine_stages([1.0, 3.0, 2.0], [4, 10, 14])
    assert isinstance(schedule, Schedule)
    steps = np.arange(20)
    found = jax.jit(jax.vmap(schedule))(steps)
    first = 1 + 2 * (1 - np.cos(np.pi * np.clip((steps - 4) / 6, 0, 1))) / 2
    second = -1 * (1 - np.cos(np.pi * np.clip((steps - 10) / 4, 0, 1))) / 2
    np.testing.assert_allclose(found, first + second, rtol=1e-5)
    assert found.dtype == jnp.float32


def test_slope_is_zero_at_the_boundaries():
    slope = jax.vmap(jax.grad(sine_stages([0.0, 1.0], [0, 10])))
    np.testing.assert_allclose(
        slope(jnp.array([1e-3, 5.0, 9.999])), [0, np.pi / 20, 0], atol=1e-3
    )


def test_relu_becomes_fat_relu():
    gradual = relu_to_fat_relu(0.5, begin=10, steps=10)
    assert gradual(10) == 0
    np.testing.assert_allclose(gradual(15), 0.25, rtol=1e-5)
    np.testing.assert_allclose(gradual(20), 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "boundaries", "message"),
    [
        ([1.0], [1, 2], "equally many"),
        ([], [], "equally many"),
        ([1.0, 2.0], [5, 5], r"boundaries must increase, got \[5, 5\]"),
    ],
)
def test_bad_stages_are_named(values, boundaries, message):
    with pytest.raises(ValueError, match=message):
        sine_stages(values, boundaries)


def test_a_negative_argument_is_named():
    with pytest.raises(ValueError, match="steps must be >= 0, got -1"):
        relu_to_fat_relu(0.1, begin=0, steps=-1)
