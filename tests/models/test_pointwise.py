"""1x1 convolutions whose gradients are matrix products."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, models
from dst_jax.models.networks import pointwise
from dst_jax.models.networks.pointwise import pointwise_conv
from tests.models.convolution_derivatives import check_derivatives

NHWC = ("NHWC", "HWIO", "NHWC")


def convolve(x, kernel, strides, **options):
    options = {"padding": "VALID", "dimension_numbers": NHWC} | options
    return pointwise_conv(x, kernel, strides, **options)


def _random(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def _products(jaxpr):
    """Primitives that multiply, in order, inside calls too."""
    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
            found.append(eqn.primitive.name)
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            found += _products(inner)
    return found


def _gradients(kernel, x, **options):
    """The primitives that multiply in the gradients of a convolution."""

    def loss(kernel, x):
        return convolve(x, kernel, **options).sum()

    program = jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(kernel, x)
    return _products(program.jaxpr)


@pytest.mark.parametrize(
    ("stride", "outputs", "dtype", "tolerance"),
    [  # fewer outputs than inputs, and more
        (1, 3, "float32", 1e-5),
        (1, 9, "float32", 1e-5),
        (3, 3, "float32", 1e-5),
        (2, 9, "bfloat16", 0.1),
    ],
)
def test_values_and_derivatives_are_a_convolutions(stride, outputs, dtype, tolerance):
    shapes = (2, 4, 7, 5), (1, 1, 5, outputs), (2, -(-4 // stride), -(-7 // stride), 1)
    x, kernel, weights = _random(*shapes, dtype=dtype)

    f = partial(convolve, strides=(stride, stride))
    check_derivatives(f, x, kernel, weights, tolerance=tolerance)


def test_a_frozen_operand_costs_nothing():
    x, kernel = _random((2, 4, 4, 3), (1, 1, 3, 2))

    def loss(x, kernel):
        return convolve(x, kernel, (1, 1), products=True).sum()

    for operand in (0, 1):
        program = jax.make_jaxpr(jax.grad(loss, argnums=operand))(x, kernel)
        assert _products(program.jaxpr) == ["conv_general_dilated", "dot_general"]


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 3, 4, 4), {}),
        ((1, 1, 4, 4), {"padding": ((1, 1), (0, 0))}),
        ((1, 1, 4, 4), {"lhs_dilation": (2, 2), "padding": ((0, 0),) * 2}),
        ((1, 1, 2, 4), {"feature_group_count": 2}),
        ((4, 4, 1, 1), {"dimension_numbers": ("NHWC", "IOHW", "NHWC")}),
        ((1, 1, 4, 4), {"dimension_numbers": ("NHWC", "HWIO", "NCHW")}),
    ],
)
def test_other_convolutions_keep_their_gradients(kernel, options):
    operands = (
        jax.ShapeDtypeStruct(kernel, "f"),
        jax.ShapeDtypeStruct((2, 4, 4, 4), "f"),
    )
    found = _gradients(*operands, strides=(1, 1), products=True, **options)
    assert set(found) == {"conv_general_dilated"}


def test_small_products_and_other_backends_keep_their_gradients(monkeypatch):
    # 2^22 multiplications: 64 positions of 64 images, 32 channels, 32 filters
    kernel = jax.ShapeDtypeStruct((1, 1, 32, 32), "f")
    large, small = (jax.ShapeDtypeStruct((n, 8, 8, 32), "f") for n in (64, 63))
    assert "dot_general" in _gradients(kernel, large, strides=(1, 1))
    assert "dot_general" not in _gradients(kernel, small, strides=(1, 1))
    monkeypatch.setattr(pointwise.jax, "default_backend", lambda: "gpu")
    assert "dot_general" not in _gradients(kernel, large, strides=(1, 1))


def test_a_network_computes_with_convolutions_and_derives_with_products():
    """The forward pass stays the program that counts, groups and export know."""
    model = models.create("resnet50", num_classes=10)
    x = jax.ShapeDtypeStruct((16, 128, 128, 3), "f")  # no map of 2x2
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    forward = _products(jax.make_jaxpr(model.apply)(variables, x).jaxpr)
    assert forward.count("dot_general") == 1  # the classifier

    def loss(variables, x):
        return model.apply(variables, x).sum()

    program = jax.make_jaxpr(jax.grad(loss))(variables, x)
    gradients = _products(program.jaxpr)[len(forward) :]
    kernels = [
        leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if path[-1].key == "kernel"
    ]
    pointwise_kernels = sum(shape[:2] == (1, 1) for shape in kernels)
    assert gradients.count("dot_general") == 2 * pointwise_kernels + 2
    assert len(gradients) == 2 * len(kernels) - 1  # none for the images


def test_a_smaller_network_derives_with_products_too():
    shapes = {"a": (1, 1, 32, 64), "b": (1, 1, 64, 32)}
    weights = dict(zip(shapes, _random(*shapes.values()), strict=True))
    (x,) = _random((64, 8, 8, 32))

    def network(weights, x):
        hidden = jax.nn.relu(convolve(x, weights["a"], (1, 1)))
        return convolve(hidden, weights["b"], (1, 1))

    groups = channels.groups(network)(weights, x)
    keep = {"a": np.arange(64) % 2 == 0}
    smaller = channels.smaller(network, groups, keep)
    small = channels.remove(weights, groups, keep)
    gradient = jax.grad(lambda weights, x: (smaller(weights, x) ** 2).sum())
    expected = jax.grad(lambda weights, x: (network(weights, x) ** 2).sum())
    found = gradient(small, x)
    assert "dot_general" in _products(jax.make_jaxpr(gradient)(small, x).jaxpr)
    whole = expected(channels.mask(weights, groups, keep), x)
    for path, right in channels.remove(whole, groups, keep).items():
        np.testing.assert_allclose(found[path], right, rtol=1e-4, atol=1e-2)
