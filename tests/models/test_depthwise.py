"""Depthwise convolutions that are derived as sums of shifted maps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, cost, models
from dst_jax.models.networks import depthwise
from dst_jax.models.networks.depthwise import depthwise_conv

NHWC = ("NHWC", "HWIO", "NHWC")
NWC = ("NWC", "WIO", "NWC")


def convolve(x, kernel, strides, padding="VALID", **options):
    numbers = NHWC if x.ndim == 4 else NWC
    known = {"dimension_numbers": numbers, "feature_group_count": x.shape[-1]}
    return depthwise_conv(x, kernel, strides, padding, **known | options)


def _random(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def _primitives(jaxpr):
    found = []
    for eqn in jaxpr.eqns:
        found.append(eqn.primitive.name)
        for inner in jax.extend.core.jaxprs_in_params(eqn.params):
            found += _primitives(inner)
    return found


def _convolutions(kernel, x, *, of=(0, 1), **options):
    """How many convolutions a convolution's gradients are computed with."""

    def loss(kernel, x):
        return convolve(x, kernel, **{"strides": (1, 1)} | options).sum()

    program = jax.make_jaxpr(jax.grad(loss, argnums=of))(kernel, x)
    return _primitives(program.jaxpr).count("conv_general_dilated")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("map_", "window", "strides", "padding"),
    [
        ((7, 9), (3, 3), (1, 1), ((1, 1), (1, 1))),
        ((7, 9), (3, 3), (2, 2), ((1, 1), (1, 1))),
        ((8, 6), (5, 2), (3, 2), ((0, 2), (1, 0))),
        ((8, 6), (3, 5), (2, 1), "SAME"),
        ((2, 2), (5, 5), (1, 1), ((2, 2), (2, 2))),
        ((9,), (4,), (2,), ((1, 2),)),
    ],
)
def test_values_and_derivatives_are_a_convolutions(map_, window, strides, padding):
    x, kernel = _random((2, *map_, 5), (*window, 1, 5))
    shape = jax.eval_shape(
        partial(convolve, strides=strides, padding=padding), x, kernel
    ).shape
    (weights,) = _random(shape)

    @partial(jax.jit, static_argnums=0)
    def results(sums):
        f = partial(convolve, strides=strides, padding=padding, sums=sums)

        def loss(kernel, x):
            return (weights * f(x, kernel) ** 2).sum()

        gradient = jax.grad(loss, argnums=(0, 1))
        second = jax.grad(lambda kernel: (gradient(kernel, x)[1] ** 2).sum())
        tangent = jax.jvp(f, (x, kernel), (x + 1, 2 * kernel))
        batched = jax.vmap(jax.grad(lambda k, x: f(x, k).sum()), (None, 0))
        each = batched(kernel, x[:, None])
        return f(x, kernel), tangent, gradient(kernel, x), second(kernel), each

    ours, theirs = results(True), results(False)
    np.testing.assert_array_equal(ours[0], theirs[0])
    for found, right in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        assert found.dtype == right.dtype
        atol = 1e-5 * np.abs(right).max()
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=atol)


def test_only_what_is_wanted_is_derived():
    x, kernel = _random((2, 4, 4, 3), (3, 3, 1, 3))

    def primitives(of):
        def loss(x, kernel):
            return convolve(x, kernel, (1, 1), sums=True).sum()

        return _primitives(jax.make_jaxpr(jax.grad(loss, argnums=of))(x, kernel).jaxpr)

    assert "scan" not in primitives(0)  # that goes from image to image
    assert "scan" in primitives(1)


def test_shifted_maps_are_not_kept():
    """A step needs no more memory than with the gradients of a convolution."""
    x, kernel = jax.ShapeDtypeStruct((8, 16, 16, 32), "f"), (5, 5, 1, 32)
    kernel = jax.ShapeDtypeStruct(kernel, "f")

    def bytes_of(sums):
        def loss(kernel, x):
            y = convolve(x, kernel, (1, 1), ((2, 2), (2, 2)), sums=sums)
            return (y**2).sum()

        step = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(kernel, x).compile()
        return step.memory_analysis().temp_size_in_bytes

    map_ = np.prod(x.shape) * 4
    assert bytes_of(True) < bytes_of(False) + 4 * map_


@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ((3, 3, 2, 4), {"feature_group_count": 2}),
        ((3, 3, 1, 8), {}),
        ((3, 3, 4, 4), {"feature_group_count": 1}),
        ((3, 3, 1, 4), {"rhs_dilation": (2, 2), "padding": ((2, 2),) * 2}),
        ((4, 1, 3, 3), {"dimension_numbers": ("NHWC", "OIHW", "NHWC")}),
        ((3, 3, 1, 4), {"dimension_numbers": ("NHWC", "HWIO", "NCHW")}),
    ],
)
def test_other_convolutions_keep_their_gradients(kernel, options):
    kernel = jax.ShapeDtypeStruct(kernel, "f")
    x = jax.ShapeDtypeStruct((2, 6, 6, 4), "f")
    found = _convolutions(kernel, x, sums=True, **options)
    assert found == _convolutions(kernel, x, sums=False, **options) > 1


def test_half_precision_keeps_its_gradients():
    kernel = jax.ShapeDtypeStruct((3, 3, 1, 4), "bfloat16")
    x = jax.ShapeDtypeStruct((2, 6, 6, 4), "bfloat16")
    assert _convolutions(kernel, x, sums=True) > 1


def test_small_layers_and_other_devices_keep_their_gradients(monkeypatch):
    # 2^20 multiplications: 64 positions of 64 images, 256 weights
    monkeypatch.setattr(depthwise.jax, "device_count", lambda: 1)
    kernel = jax.ShapeDtypeStruct((2, 2, 1, 64), "f")
    large, small = (jax.ShapeDtypeStruct((n, 8, 8, 64), "f") for n in (64, 63))
    assert _convolutions(kernel, large) == 0
    assert _convolutions(kernel, small) > 1
    monkeypatch.setattr(depthwise.jax, "device_count", lambda: 8)
    assert _convolutions(kernel, large) > 1
    monkeypatch.setattr(depthwise.jax, "device_count", lambda: 1)
    monkeypatch.setattr(depthwise.jax, "default_backend", lambda: "gpu")
    assert _convolutions(kernel, large) > 1


def test_a_network_computes_with_convolutions_and_derives_with_sums(monkeypatch):
    """The forward pass stays the program that counts, groups and export know."""
    monkeypatch.setattr(depthwise.jax, "device_count", lambda: 1)
    model = models.create("mobilenet_v1", num_classes=10)
    x = jax.ShapeDtypeStruct((64, 96, 96, 3), "f")
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    forward = _primitives(jax.make_jaxpr(model.apply)(variables, x).jaxpr)
    kernels = [
        leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
        if path[-1].key == "kernel" and leaf.ndim == 4
    ]
    assert forward.count("conv_general_dilated") == len(kernels)

    def loss(variables, x):
        return model.apply(variables, x).sum()

    program = jax.make_jaxpr(jax.grad(loss))(variables, x)
    found = _primitives(program.jaxpr)
    depthwise_kernels = sum(shape[2] == 1 for shape in kernels)
    assert depthwise_kernels == 13
    # one loop over images for each depthwise kernel, and no convolution
    assert found.count("scan") == depthwise_kernels
    others = len(kernels) - depthwise_kernels
    assert found.count("conv_general_dilated") <= 2 * others


@pytest.mark.slow
def test_a_smaller_network_derives_with_sums_too():
    shapes = {"a": (1, 1, 8, 16), "b": (3, 3, 1, 16), "c": (1, 1, 16, 4)}
    weights = dict(zip(shapes, _random(*shapes.values()), strict=True))
    (x,) = _random((2, 8, 8, 8))

    def product(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=NHWC
        )

    def network(weights, x):
        hidden = jax.nn.relu(product(x, weights["a"]))
        hidden = convolve(hidden, weights["b"], (2, 2), ((1, 1),) * 2, sums=True)
        return product(jax.nn.relu(hidden), weights["c"])

    groups = channels.groups(network)(weights, x)
    assert int(cost.count(network)(weights, x)["b"].dense) == 2 * 4 * 4 * 9 * 16
    keep = {"a": np.arange(16) % 2 == 0}
    smaller = channels.smaller(network, groups, keep)
    small = channels.remove(weights, groups, keep)
    gradient = jax.grad(lambda weights, x: (smaller(weights, x) ** 2).sum())
    assert "scan" in _primitives(jax.make_jaxpr(gradient)(small, x).jaxpr)
    found = gradient(small, x)
    expected = jax.grad(lambda weights, x: (network(weights, x) ** 2).sum())
    whole = expected(channels.mask(weights, groups, keep), x)
    for path, right in channels.remove(whole, groups, keep).items():
        np.testing.assert_allclose(found[path], right, rtol=1e-4, atol=1e-3)
