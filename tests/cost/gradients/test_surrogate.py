"""The smooth count against its definition, the exact count, and finite differences."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from dst_jax import cost
from dst_jax.cost.gradients.surrogate import soft_indicator, surrogate

CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "strides, padding, dilations": (
        (2, 6, 5, 3),
        (3, 2, 3, 4),
        {
            "window_strides": (2, 1),
            "padding": ((1, 0), (-1, 2)),
            "lhs_dilation": (1, 2),
            "rhs_dilation": (2, 1),
        },
    ),
    "feature groups": ((2, 4, 4, 6), (2, 2, 2, 9), {"feature_group_count": 3}),
    "batch groups": ((6, 4, 4, 3), (2, 2, 3, 4), {"batch_group_count": 2}),
}
DEFAULTS = {"window_strides": (1, 1), "padding": "VALID"}


def conv(w, x, **options):
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, w, **{**DEFAULTS, **options}, dimension_numbers=numbers
    )


def sparse(seed: int, shape: tuple[int, ...]):
    x = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(np.where(x > 0.2, x, 0), jnp.float32)


def total(counts: Any):
    return sum(counts.values())


def effectual(fn, *args):
    return cost.total(cost.count(fn)(*args)).effectual


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_smooth_count_of_a_convolution_is_the_convolved_indicators(name):
    x_shape, w_shape, options = CONVOLUTIONS[name]
    x, w = sparse(0, x_shape), sparse(1, w_shape)
    fn = functools.partial(conv, **options)

    def definition(w, x):
        return fn(soft_indicator(w, 0.25), soft_indicator(x, 0.5)).sum()

    def smooth(w, x):
        return total(surrogate(fn, a=0.5, a_weights=0.25)(w, x))

    @jax.jit
    def compared(w, x):
        soft = [jax.value_and_grad(f, (0, 1))(w, x) for f in (smooth, definition)]
        hard = total(surrogate(fn, straight_through=True)(w, x))
        return soft, hard, effectual(fn, w, x)

    (actual, expected), hard, exact = compared(w, x)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=2e-5), actual, expected
    )
    assert int(hard) == int(exact)


@pytest.mark.parametrize("formula", ["bij,bkj->bik", "bhqd,bkhd->bhqk", "i,i->"])
def test_smooth_count_of_a_product_is_the_product_of_indicators(formula):
    sizes = dict(zip("bdhijkq", range(2, 9), strict=True))
    left, right = formula.split("->")[0].split(",")
    x, w = (
        sparse(i, tuple(sizes[c] for c in term)) for i, term in enumerate((left, right))
    )

    def product(w, x):
        return jnp.einsum(formula, x, w)

    @jax.jit
    def compared(w, x):
        soft = total(surrogate(product, a=0.5)(w, x))
        definition = product(soft_indicator(w, 0.5), soft_indicator(x, 0.5)).sum()
        hard = total(surrogate(product, straight_through=True)(w, x))
        return soft, definition, hard, effectual(product, w, x)

    soft, definition, hard, exact = compared(w, x)
    np.testing.assert_allclose(soft, definition, rtol=1e-5)
    assert int(hard) == int(exact)


def network(params, x):
    for w in params["hidden"]:
        x = jax.nn.relu(jax.jit(conv)(w, x))
    return x.reshape(len(x), -1) @ params["out"]


def network_inputs():
    params = {
        "hidden": [sparse(0, (3, 3, 2, 3)), sparse(1, (2, 2, 3, 3)) - 0.1],
        "out": sparse(2, (27, 4)),
    }
    return params, sparse(3, (5, 6, 6, 2))


def test_surrogate_tends_to_the_exact_count():
    params, x = network_inputs()
    exact = jax.jit(cost.count(network))(params, x)
    smooth = jax.jit(lambda a: surrogate(network, a=a)(params, x))
    assert list(smooth(1e-7)) == list(exact)
    for name, count in exact.items():
        np.testing.assert_allclose(smooth(1e-7)[name], int(count.effectual), rtol=1e-4)
        assert abs(smooth(1.0)[name] / int(count.effectual) - 1) > 0.02


def test_straight_through_counts_exactly_and_slopes_as_the_smooth_one():
    x, w = sparse(0, (6, 5)), sparse(1, (5, 4))
    fn = lambda w, x: x @ w  # noqa: E731
    loss = lambda w, x: total(surrogate(fn, straight_through=True)(w, x))  # noqa: E731
    value, slopes = jax.jit(jax.value_and_grad(loss, (0, 1)))(w, x)
    assert value == (x != 0).sum(0) @ (w != 0).sum(1)
    slope = jax.jit(jax.grad(lambda x: soft_indicator(x, 0.1).sum()))
    by_x = slope(x) * (w != 0).sum(1)[None, :]
    by_w = slope(w) * (x != 0).sum(0)[:, None]
    np.testing.assert_allclose(slopes[0], by_w, rtol=1e-5)
    np.testing.assert_allclose(slopes[1], by_x, rtol=1e-5)


def test_surrogate_is_batched_over_its_shape_parameter_and_has_a_slope_in_it():
    w, x = sparse(0, (5, 4)), sparse(1, (6, 5))

    @jax.jit
    def loss(a):
        return total(surrogate(lambda w, x: x @ w, a=a)(w, x))

    shapes = jnp.array([0.03, 0.3])
    values, slopes = jax.jit(jax.vmap(jax.value_and_grad(loss)))(shapes)
    for a, value, slope in zip(shapes, values, slopes, strict=True):
        np.testing.assert_allclose(value, loss(a), rtol=1e-5)
        low, high = loss(0.99 * a), loss(1.01 * a)
        np.testing.assert_allclose(slope, (high - low) / (0.02 * a), rtol=1e-2)


def test_descending_the_surrogate_lowers_the_exact_count():
    x, w = jnp.abs(sparse(0, (6, 5))), sparse(1, (5, 4))

    @jax.jit
    def descend(w):
        slope = jax.grad(lambda w: total(surrogate(lambda w, x: x @ w)(w, x)))(w)
        return jnp.sign(w) * jnp.maximum(abs(w) - 1e-2 * abs(slope), 0)

    thinned = w
    for _ in range(20):
        thinned = descend(thinned)
    assert int(effectual(lambda w, x: x @ w, thinned, x)) < int(
        effectual(lambda w, x: x @ w, w, x)
    )


def test_surrogate_is_summed_over_a_scan():
    w, x = sparse(0, (4, 4)), sparse(1, (3, 4))

    def step(w, x):
        return jax.nn.relu(x @ w)

    def looped(w, x):
        return lax.scan(lambda x, _: (step(w, x), None), x, length=3)[0]

    def unrolled(w, x):
        return step(w, step(w, step(w, x)))

    @jax.jit
    def value_and_slopes(w, x):
        return [
            jax.value_and_grad(lambda w, fn=fn: total(surrogate(fn)(w, x)))(w)
            for fn in (looped, unrolled)
        ]

    once, apart = value_and_slopes(w, x)
    np.testing.assert_allclose(once[0], apart[0], rtol=1e-5)
    np.testing.assert_allclose(once[1], apart[1], rtol=1e-4, atol=1e-5)


@given(
    x=st.floats(width=32, allow_nan=False),
    a=st.floats(2**-30, 1024, width=32),
)
@settings(max_examples=150)
def test_soft_indicator_is_finite_everywhere(x, a):
    a = np.float32(a)
    value, (slope, slope_a) = value_and_slopes(x, a)
    size = abs(np.float64(x))
    if 0 < size < np.finfo(np.float32).tiny:
        assert abs(value) < 1e-28  # XLA may take a subnormal for zero
        return
    share = 1.0 if np.isinf(size) else size / (a + size)
    np.testing.assert_allclose(
        value, (1 + np.float64(a)) * share, rtol=1e-5, atol=1e-35
    )
    assert np.isfinite(slope)
    assert np.isfinite(slope_a)
    if 0 < size < 1e15:
        exact = np.sign(x) * (1 + np.float64(a)) * a / (a + size) ** 2
        np.testing.assert_allclose(slope, exact, rtol=1e-5, atol=1e-37)
    else:
        assert abs(slope) < 1e-14


@jax.jit
def value_and_slopes(x, a):
    return jax.value_and_grad(soft_indicator, (0, 1))(x, a)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.int8, jnp.bool_, jnp.complex64])
def test_soft_indicator_takes_any_dtype(dtype):
    x = jnp.array([0, 1, 1, 0]).astype(dtype)
    soft = soft_indicator(x, 0.5)
    assert soft.dtype == jnp.float32
    np.testing.assert_allclose(soft, [0, 1, 1, 0])


def test_second_derivative_is_that_of_the_formula():
    x, a = 0.7, 0.3
    second = jax.jit(jax.grad(jax.grad(soft_indicator)))
    np.testing.assert_allclose(second(x, a), -2 * a * (1 + a) / (a + x) ** 3, rtol=1e-5)
    assert second(0.0, a) == 0
