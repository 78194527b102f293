from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models
from dst_jax.models.networks import layers, pooling
from dst_jax.models.networks.normalization import BatchNorm, batch_norm
from dst_jax.models.networks.unet import UpConv


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(0), (3, 5, 5, 4)) * 2 + 1


def _train(norm, x, steps=1):
    variables = norm.init(jax.random.key(0), x)
    for _ in range(steps):
        y, updated = norm.apply(variables, x, mutable=["batch_stats"])
        variables = variables | updated
    return y, variables


def test_running_variance_is_unbiased_and_the_batch_is_not(x):
    y, variables = _train(batch_norm(name="bn", train=True), x)
    statistics = variables["batch_stats"]
    axes, data = (0, 1, 2), np.asarray(x, np.float64)
    unbiased = data.var(axes, ddof=1)
    np.testing.assert_allclose(statistics["var"], 0.9 + 0.1 * unbiased, rtol=1e-5)
    np.testing.assert_allclose(statistics["mean"], 0.1 * data.mean(axes), rtol=1e-5)
    normalised = (data - data.mean(axes)) / np.sqrt(data.var(axes) + 1e-5)
    np.testing.assert_allclose(y, normalised, atol=1e-5)


def test_running_variance_converges_to_the_unbiased_one(x):
    _, variables = _train(BatchNorm(momentum=0.5, use_running_average=False), x, 30)
    unbiased = np.asarray(x, np.float64).var((0, 1, 2), ddof=1)
    np.testing.assert_allclose(variables["batch_stats"]["var"], unbiased, rtol=1e-5)


def test_evaluation_uses_and_keeps_the_statistics(x):
    norm = batch_norm(name="bn", train=False, eps=0.5)
    variables = norm.init(jax.random.key(0), x)
    y, updated = norm.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(y, x / 1.5**0.5, rtol=1e-5)
    assert (updated["batch_stats"]["mean"] == 0).all()
    assert (updated["batch_stats"]["var"] == 1).all()


def test_one_value_per_channel_cannot_train():
    norm = BatchNorm(use_running_average=False)
    one = jnp.ones((1, 4))
    variables = norm.init(jax.random.key(0), one)
    with pytest.raises(
        ValueError, match="at least 2 values per channel to train, got 1"
    ):
        norm.apply(variables, one, mutable=["batch_stats"])
    with pytest.raises(ValueError, match="mask must be None"):
        norm.apply(variables, one, mask=one, mutable=["batch_stats"])


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("length", range(3, 12))
@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 0), (2, 2, 0), (3, 2, 1)]
)
def test_max_pooling_is_pytorchs(torch, length, size, stride, padding, ceil):
    x = -torch.arange(float(length * length)).reshape(1, 1, length, length)
    pool = torch.nn.MaxPool2d(size, stride, padding, ceil_mode=ceil)
    image = jnp.asarray(x.numpy()).transpose(0, 2, 3, 1)
    options = {"stride": stride, "padding": padding, "ceil": ceil}
    found = pooling.max_pool(image, size, **options)[0, :, :, 0]
    np.testing.assert_array_equal(found, pool(x)[0, 0].numpy())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "stride", "padding", "shape"),
    [
        (2, 2, 0, (2, 8, 6, 3)),
        (3, 3, 0, (1, 7, 9, 2)),
        (3, 2, 1, (2, 8, 7, 3)),
        (3, 1, 1, (1, 5, 6, 2)),
        (2, 3, 0, (1, 7, 9, 2)),
    ],
)
def test_max_pooling_has_the_gradient_of_flax(size, stride, padding, shape):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.integers(-2, 2, shape), jnp.float32)  # with many ties
    x = x.at[0, 1, 1, 0].set(jnp.nan)
    pool = partial(pooling.max_pool, size=size, stride=stride, padding=padding)
    ours, pull_ours = jax.vjp(pool, x)
    window, strides, pads = (size, size), (stride, stride), [(padding, padding)] * 2
    theirs, pull = jax.vjp(lambda x: nn.max_pool(x, window, strides, pads), x)
    np.testing.assert_array_equal(ours, theirs)
    weights = jnp.asarray(rng.integers(1, 100, ours.shape), jnp.float32)
    # Of windows with a NaN, XLA's scatter takes the first of the others.
    weights = jnp.where(jnp.isnan(ours), 0, weights)
    np.testing.assert_array_equal(pull_ours(weights)[0], pull(weights)[0])


@pytest.mark.parametrize(("length", "size"), [(7, 7), (14, 7), (2, 7), (1, 7), (10, 4)])
def test_adaptive_mean_is_pytorchs(torch, length, size):
    x = torch.randn(1, 3, length, length, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.AdaptiveAvgPool2d(size)(x).numpy().transpose(0, 2, 3, 1)
    image = jnp.asarray(x.numpy()).transpose(0, 2, 3, 1)
    found = pooling.adaptive_mean_pool(image, size)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_upconv_writes_four_pixels_for_one(x):
    up = UpConv(2)
    variables = up.init(jax.random.key(0), x)
    kernel, bias = (variables["params"][name] for name in ("kernel", "bias"))
    y = up.apply(variables, x)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1)):
        expected = x @ kernel[row, column] + bias[None, None, None]
        np.testing.assert_allclose(y[:, row::2, column::2], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel_init", "deviation"),
    [
        (layers.default_kernel, (1 / 3 / 144) ** 0.5),
        (layers.he_normal_fan_in, (2 / 144) ** 0.5),
        (layers.he_normal_fan_out, (2 / 288) ** 0.5),
    ],
)
def test_initial_kernels_have_pytorchs_deviation(kernel_init, deviation):
    convolution = layers.conv(32, 3, name="conv", kernel_init=kernel_init)
    variables = convolution.init(jax.random.key(0), jnp.ones((1, 4, 4, 16)))
    kernel = variables["params"]["kernel"]
    assert kernel.shape == (3, 3, 16, 32)
    np.testing.assert_allclose(kernel.std(), deviation, rtol=0.03)
    bound = 144**-0.5
    assert (jnp.abs(kernel).max() <= bound) == (kernel_init is layers.default_kernel)


def test_stride_2_pads_both_sides():
    convolution = layers.conv(1, 3, name="conv", stride=2, padding=1)
    x = jnp.zeros((1, 4, 4, 1)).at[0, 0, 0].set(1.0)
    variables = convolution.init(jax.random.key(0), x)
    ones = jax.tree.map(jnp.ones_like, variables)
    assert convolution.apply(ones, x)[0, :, :, 0].tolist() == [[1, 0], [0, 0]]


def test_relu6_is_capped_and_relu_is_not():
    x = jnp.array([[-1.0, 3.0, 9.0]])
    capped = layers.Chain((partial(layers.relu, cap=6.0),))
    assert capped.apply({}, x).tolist() == [[0, 3, 6]]
    assert layers.Chain((layers.relu,)).apply({}, x).tolist() == [[0, 3, 9]]


def test_a_chain_needs_a_name_for_every_step():
    with pytest.raises(ValueError, match="zip"):
        layers.Chain((layers.relu,), ("a", "b")).apply({}, jnp.ones((1, 2)))


def test_public_names_are_there():
    assert all(hasattr(models, name) for name in models.__all__)
