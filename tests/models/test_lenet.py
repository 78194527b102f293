import jax
import jax.numpy as jnp
import pytest

from dst_jax import cost, models, trees
from dst_jax.activations import apply_with_activations


def _lenet(**options):
    model = models.create("lenet5", num_classes=10, **options)
    x = jax.random.uniform(jax.random.key(1), (2, 28, 28, 1))
    return model, model.init(jax.random.key(0), x), x


@pytest.mark.slow
def test_shapes_and_macs():
    model, variables, x = _lenet()
    assert trees.count(variables["params"]) == 44_426
    _, maps, _ = apply_with_activations(model, variables, x)
    sizes = {name: m[0].size for name, m in maps.items()}
    assert sizes == {"relu1": 3456, "relu2": 1024, "relu3": 120, "relu4": 84}

    def dense(variables, x):  # all else is dropped before it is compiled
        counts = cost.count(model.apply)(variables, x)
        return {name: count.dense for name, count in counts.items()}

    counted = jax.jit(dense)(variables, x[:1])
    macs = {name: int(count) for name, count in counted.items()}
    assert macs == {
        "conv1": 86_400,
        "conv2": 153_600,
        "fc1": 30_720,
        "fc2": 10_080,
        "fc3": 840,
    }


@pytest.mark.slow
def test_logits_have_no_relu_unless_asked():
    model, variables, x = _lenet()
    logits = model.apply(variables, x)
    assert (logits < 0).any()
    original, _, _ = _lenet(relu_logits=True)
    clipped, maps, _ = apply_with_activations(original, variables, x)
    assert (clipped == jax.nn.relu(logits)).all()
    assert "relu5" in maps


def test_initialisation_is_pytorchs_uniform():
    _, variables, _ = _lenet()
    for name, fan_in in {"conv1": 25, "conv2": 150, "fc1": 256, "fc3": 84}.items():
        for leaf in variables["params"][name].values():
            assert jnp.abs(leaf).max() <= fan_in**-0.5
    kernel = variables["params"]["fc1"]["kernel"]
    assert abs(kernel.std() - 256**-0.5 / 3**0.5) < 1e-3


def test_flattening_is_channels_first():
    model, variables, x = _lenet()
    _, maps, _ = apply_with_activations(model, variables, x)
    pooled = maps["relu2"].reshape(2, 4, 2, 4, 2, 16).max((2, 4))
    flat = jnp.moveaxis(pooled, 3, 1).reshape(2, 256)
    fc1 = variables["params"]["fc1"]
    expected = jax.nn.relu(flat @ fc1["kernel"] + fc1["bias"][None])
    assert jnp.allclose(maps["relu3"], expected, atol=1e-5)
