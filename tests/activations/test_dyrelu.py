"""DyReLU against NumPy, its phases, and what is left of it: nothing."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import kernels, pruning, trees
from dst_jax.activations import DyReLU, Tap, phase_out, with_phase, without_dyrelu


def _reference(x, weights, phase):
    """Float64: z, two layers, four coefficients a channel, the larger of two lines."""
    x = x.astype(np.float64)
    one, two = weights["reduce"], weights["expand"]
    z = x.reshape(len(x), -1, x.shape[-1]).mean(1)
    h = np.maximum(z @ one["kernel"] + one["bias"], 0)
    u = 2 / (1 + np.exp(-(h @ two["kernel"] + two["bias"]))) - 1
    own = u.reshape(len(x), x.shape[-1], 4) * [1, 1, 0.5, 0.5] + [1, 0, 0, 0]
    mixed = phase * own + (1 - phase) * np.array([1.0, 0, 0, 0])
    a, b = mixed[..., :2], mixed[..., 2:]
    shape = (len(x), *[1] * (x.ndim - 2), x.shape[-1])
    lines = [a[..., k].reshape(shape) * x + b[..., k].reshape(shape) for k in (0, 1)]
    return np.maximum(*lines)


@pytest.mark.parametrize(
    "shape", [(3, 5, 4, 8), pytest.param((2, 2), marks=pytest.mark.slow)]
)
def test_it_equals_its_description(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("f")
    variables = DyReLU().init(jax.random.key(0), x)
    weights = jax.tree.map(np.asarray, variables["params"]["dyrelu"])
    hidden = max(shape[-1] // 4, 1)
    assert weights["reduce"]["kernel"].shape == (shape[-1], hidden)
    assert weights["expand"]["kernel"].shape == (hidden, 4 * shape[-1])
    for phase in (1.0, 0.25, 0.0):
        y = DyReLU().apply(with_phase(variables, phase), x)
        np.testing.assert_allclose(y, _reference(x, weights, phase), atol=2e-6)
    np.testing.assert_array_equal(y, nn.relu(x))  # at phase 0, to the bit


@pytest.mark.slow
def test_gradients_flow_to_its_weights_until_the_phase_is_0():
    x = jax.random.normal(jax.random.key(1), (4, 3, 3, 8))
    variables = DyReLU().init(jax.random.key(0), x)

    def loss(params, phase):
        own = with_phase({**variables, "params": params}, phase)
        return jnp.sum(DyReLU().apply(own, x) ** 2)

    grads = jax.grad(loss)(variables["params"], 0.5)
    assert all(jnp.abs(g).max() > 0 for g in jax.tree.leaves(grads))
    grads = jax.grad(loss)(variables["params"], 0.0)
    assert all((g == 0).all() for g in jax.tree.leaves(grads))


@pytest.mark.slow
def test_its_weights_are_no_kernels_whatever_it_is_called():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = DyReLU()(nn.Dense(8, name="fc1")(x))
            return Tap(name="tap")(DyReLU(name="relu2")(nn.Dense(8, name="fc2")(x)))

    x = jnp.ones((2, 4))
    variables = Net().init(jax.random.key(0), x)
    assert set(kernels.by_name(variables["params"])) == {"fc1/kernel", "fc2/kernel"}
    used = kernels.by_use(Net().apply)(variables, x)
    assert set(used) == {"params/fc1/kernel", "params/fc2/kernel"}
    prunable = trees.named_leaves(pruning.masks.prunable(variables["params"]))
    assert set(prunable) == {"fc1/kernel", "fc2/kernel"}
    assert set(trees.named_leaves(variables["phases"])) == {
        "DyReLU_0/phase",
        "relu2/phase",
    }
    mask = pruning.masks.magnitude(variables["params"], 0.5)
    plain, own = without_dyrelu(variables, mask)
    assert set(plain) == {"params"}
    assert set(plain["params"]) == set(own) == {"fc1", "fc2"}
    assert plain["params"]["fc1"]["kernel"] is variables["params"]["fc1"]["kernel"]


def test_the_published_phases():
    # 250 epochs, the first milestone at 125: from 62.5 to 124
    phase = phase_out(start=62.5, end=124)
    found = [float(phase(epoch)) for epoch in (0, 62.5, 93.25, 123, 124, 249)]
    assert found == pytest.approx([1, 1, 0.5, 1 / 61.5, 0, 0], abs=1e-6)
    assert float(phase_out(start=3, end=3)(3)) == 0
    assert float(jax.jit(lambda end: phase_out(start=0, end=end)(1))(4)) == 0.75


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DyReLU(0).init(jax.random.key(0), jnp.ones((1, 4))), "reduction must"),
        (lambda: DyReLU().init(jax.random.key(0), jnp.ones(4)), "x must have a batch"),
        (lambda: phase_out(start=-1, end=3), "start must be"),
        (lambda: phase_out(start=4, end=3), "end must be .* >= 4, got 3"),
        (lambda: with_phase({"params": {}}, 0.5), "variables must hold 'phases'"),
        (lambda: with_phase({"phases": {}}, 2), r"phase must be in \[0, 1\]"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
