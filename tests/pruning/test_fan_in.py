"""Weights scaled to the fan-in that their mask leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import pruning
from dst_jax.kernels import Kernel


def test_every_unit_has_the_variance_of_its_own_fan_in():
    rng = np.random.default_rng(0)
    weights = rng.normal(0, (2 / (9 * 256)) ** 0.5, (3, 3, 256, 4)).astype("f")
    density = np.array([0.9, 0.1, 0.01, 0.001])
    mask = rng.random(weights.shape) < density
    mask[..., 3] = False
    params = {"conv": {"kernel": jnp.asarray(weights), "bias": jnp.ones(4)}}
    given = {"conv": {"kernel": jnp.asarray(mask), "bias": None}}
    found = pruning.scale_to_fan_in(params, given)["conv"]
    assert (found["bias"] == 1).all()
    kernel = np.asarray(found["kernel"])
    assert (kernel[~mask] == 0).all()
    for unit in range(3):
        own = mask[..., unit]
        factor = (own.size / own.sum()) ** 0.5
        np.testing.assert_allclose(
            kernel[..., unit][own], weights[..., unit][own] * factor, rtol=1e-6
        )
        # sum of squares: that of the dense unit, 2, within what so few draws allow
        spread = 6 / own.sum() ** 0.5
        assert (kernel[..., unit] ** 2).sum() == pytest.approx(2, rel=spread)


def test_stacks_and_transposed_kernels_have_their_own_inputs():
    mask = np.zeros((2, 3, 4), bool)
    mask[0, :2], mask[1, 0] = True, True
    kernels = {"w": Kernel(stack=(0,), outputs=(1,), inputs=(2,))}
    params = {"w": jnp.ones((2, 3, 4))}
    found = pruning.scale_to_fan_in(params, {"w": jnp.asarray(mask)}, kernels=kernels)
    np.testing.assert_array_equal(found["w"], mask.astype("f"))  # whole units stay
    mask[0, 0, 1:] = False
    found = jax.jit(pruning.scale_to_fan_in)(params, {"w": jnp.asarray(mask)})
    assert float(found["w"][0, 0, 0]) == pytest.approx(2**0.5)  # by name: a window
    found = pruning.scale_to_fan_in(params, {"w": jnp.asarray(mask)}, kernels=kernels)
    assert found["w"][0, :, 0].tolist() == [2, 1, 0]


def test_a_mask_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"mask at w has shape \(3,\), params \(2,\)"):
        pruning.scale_to_fan_in({"w": jnp.ones(2)}, {"w": jnp.ones(3, bool)})
