"""ONNX models: what onnxruntime computes is what the network computes."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models, trees
from dst_jax.models import export
from dst_jax.models.linen import as_model
from dst_jax.models.smaller import groups_of, smaller_network
from dst_jax.typing import Network


@pytest.fixture
def converter():
    return pytest.importorskip("jax2onnx")


def _network(name, size, **options):
    """A network with random weights and statistics."""
    model = models.create(name, num_classes=10, **options)
    shape = (size, size, models.task(name).image[2])
    rng = np.random.default_rng(0)

    def drawn(path, leaf):
        value = rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1]) or 1)
        positive = path.endswith(("var", "scale"))
        return jnp.asarray(value**2 + 0.5 if positive else value, jnp.float32)

    x = jnp.ones((1, *shape))
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)
    return Network(as_model(model), trees.map_named(drawn, dict(shapes))), x


def _half(network, x):
    groups = groups_of(network, x)
    keep = {name: np.arange(group.size) % 2 == 0 for name, group in groups.items()}
    return smaller_network(network, groups, keep)


def _runs_alike(model, network, shape):
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for batch in (1, 3):
        x = np.random.default_rng(batch).normal(size=(batch, *shape))
        x = x.astype(np.float32)
        (found,) = session.run(None, {"x": x})
        expected = np.asarray(jax.jit(network.model)(network.variables, x)[0])
        assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


# Pooling windows with and without padding, strides; attention.
@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        pytest.param("lenet5", 28, {}, marks=pytest.mark.slow, id="lenet5"),
        pytest.param(
            "resnet18", 32, {"width": 0.125}, marks=pytest.mark.slow, id="resnet18"
        ),
        pytest.param("vit_tiny", 32, {"depth": 1}, marks=pytest.mark.slow, id="vit"),
    ],
)
def test_a_smaller_network_runs(converter, name, size, options):
    network, x = _network(name, size, **options)
    small = _half(network, x)
    assert trees.count(small.params) < 0.5 * trees.count(network.params)
    _runs_alike(export.onnx(small, x.shape[1:]), small, x.shape[1:])


def test_a_whole_network_and_a_function_run(converter):
    network, x = _network("lenet5", 28)
    _runs_alike(export.onnx(network, x.shape[1:]), network, x.shape[1:])
    module = network.model.module
    own = export.onnx(module.apply, network.variables, x.shape[1:])
    _runs_alike(own, network, x.shape[1:])


def test_depthwise_convolutions_run(converter):
    def depthwise(variables, x, *, train=False, rngs=None):
        del train, rngs
        kernel, layout = variables["params"]["kernel"], ("NHWC", "HWIO", "NHWC")
        y = jax.lax.conv_general_dilated(
            x, kernel, (2, 2), "SAME", dimension_numbers=layout, feature_group_count=4
        )
        return y.mean((1, 2)), {}, {}

    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3, 1, 8)), "float32")
    network = Network(depthwise, {"params": {"kernel": kernel}})
    _runs_alike(export.onnx(network, (8, 8, 4)), network, (8, 8, 4))


def test_a_model_that_runs_otherwise_is_refused(converter):
    """The converter cannot pool along four axes; inside a loop it is left to it."""

    def pooled(weights, x):
        del weights

        def body(x, _):
            window, step = (1, 3, 3, 1), (1, 1, 1, 1)
            return jax.lax.reduce_window(
                x, -jnp.inf, jax.lax.max, window, step, "SAME"
            ), None

        return jax.lax.scan(body, x, None, length=2)[0]

    with pytest.raises(ValueError, match="onnxruntime refuses the converted model"):
        export.onnx(pooled, {}, (8, 8, 2))


def test_another_result_is_refused(converter, monkeypatch):
    convert = converter.to_onnx

    def wrong(fn, **options):
        return convert(lambda x: tuple(y + 1 for y in fn(x)), **options)

    monkeypatch.setattr(converter, "to_onnx", wrong)
    with pytest.raises(ValueError, match="model differs from the network by 1, where"):
        export.onnx(lambda w, x: w * x, jnp.ones(()), (2,))


def test_the_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps jax2onnx"):
        export.onnx(lambda w, x: x, {}, (2,))
    with pytest.raises(ValueError, match="input_shape must be at least 1"):
        export.onnx(lambda w, x: x, {}, (0,))
