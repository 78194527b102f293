"""Convolutions to small maps that are trained as matrix products."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import cost
from dst_jax.models.networks import small_maps
from dst_jax.models.networks.small_maps import small_map_conv
from tests.models.convolution_derivatives import check_derivatives

NHWC = ("NHWC", "HWIO", "NHWC")


def convolve(x, kernel, strides, **options):
    options = {"padding": "SAME", "dimension_numbers": NHWC} | options
    return small_map_conv(x, kernel, strides, **options)


def _random(*shapes, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def _dots(x, kernel, strides, **options):
    """How many matrix products are in the value and the gradients."""
    x, kernel = (jax.ShapeDtypeStruct(shape, "f") for shape in (x, kernel))

    def loss(x, kernel):
        return convolve(x, kernel, strides, **options).sum()

    return str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(x, kernel)).count(
        "dot_general["
    )


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "dtype", "tolerance"),
    [
        (2, 3, 1, "SAME", "float32", 1e-5),
        (4, 3, 2, [(1, 1), (1, 1)], "float32", 1e-5),
        (5, 3, 2, "VALID", "float32", 1e-5),
        (1, 3, 1, [(2, 1), (1, 1)], "float32", 1e-5),
        (2, 3, 1, "SAME", "bfloat16", 0.1),
    ],
)
def test_values_and_derivatives_are_a_convolutions(
    size, window, stride, padding, dtype, tolerance
):
    x, kernel = _random((3, size, size, 4), (window, window, 4, 6), dtype=dtype)

    f = partial(convolve, strides=(stride, stride), padding=padding)
    check_derivatives(f, x, kernel, tolerance=tolerance)


def test_the_value_and_the_inputs_gradient_are_products():
    assert _dots((8, 2, 2, 4), (3, 3, 4, 5), (1, 1), products=True) == 2


@pytest.mark.parametrize(
    ("x", "kernel", "options"),
    [
        ((2, 3, 3, 4), (3, 3, 4, 4), {}),
        ((2, 2, 2, 4), (3, 3, 2, 4), {"feature_group_count": 2}),
        ((2, 2, 2, 4), (3, 3, 4, 4), {"rhs_dilation": (2, 2)}),
        ((2, 2, 2, 4), (4, 4, 3, 3), {"dimension_numbers": ("NHWC", "IOHW", "NHWC")}),
        ((2, 2, 2, 4), (3, 3, 4, 4), {"padding": "VALID"}),  # a map without positions
    ],
)
def test_other_convolutions_keep_their_derivatives(x, kernel, options):
    assert _dots(x, kernel, (1, 1), products=True, **options) == 0


def test_few_multiplications_and_other_backends_keep_their_derivatives(monkeypatch):
    # 2^22 multiplications and a little more: 4 positions, 9 places, 32 x 64 channels
    kernel = (3, 3, 32, 64)
    assert _dots((57, 2, 2, 32), kernel, (1, 1)) == 2
    assert _dots((56, 2, 2, 32), kernel, (1, 1)) == 0
    monkeypatch.setattr(small_maps.jax, "default_backend", lambda: "gpu")
    assert _dots((57, 2, 2, 32), kernel, (1, 1)) == 0


def test_a_training_step_is_counted_as_the_convolutions_it_is():
    x, kernel = _random((2, 2, 2, 4), (3, 3, 4, 5))

    def counted(products):
        def loss(kernel, x):
            return convolve(x, kernel, (1, 1), products=products).sum()

        return cost.training(loss)(kernel, x)

    ours, theirs = counted(True), counted(False)
    for found, right in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        np.testing.assert_array_equal(found, right)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
