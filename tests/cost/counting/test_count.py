"""The transformation itself: what it takes, what it returns, what it refuses."""

import functools
from inspect import unwrap
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import pallas

from dst_jax import cost
from dst_jax.jaxprs.tracing import argument_positions


def matmul(w, x):
    return x @ w


def as_ints(counts: Any) -> list[tuple[int, ...]]:
    return [tuple(int(n) for n in op) for op in counts.values()]


@jax.custom_jvp
def with_jvp(w, x):
    return matmul(w, x)


with_jvp.defjvp(lambda primals, _: (with_jvp(*primals), with_jvp(*primals)))


@jax.custom_vjp
def with_vjp(w, x):
    return matmul(w, x)


with_vjp.defvjp(lambda w, x: (matmul(w, x), None), lambda _, g: (g, g))

WRAPPED = {
    "jit": jax.jit(matmul),
    "jit of jit": jax.jit(jax.jit(matmul)),
    "remat": jax.checkpoint(matmul),
    "custom_jvp": with_jvp,
    "custom_vjp": with_vjp,
    "partial": functools.partial(jax.jit(matmul)),
    "named_call": jax.named_call(matmul, name="fc"),
    "closed_call": lambda w, x: jax.closure_convert(jax.jit(matmul), w, x)[0](w, x),
}
W = jnp.array([[1.0, 0.0], [0.0, 0.0]])
X = jnp.ones((3, 2))


@pytest.mark.parametrize("name", WRAPPED)
@pytest.mark.parametrize("jit", [False, True])
def test_operations_are_counted_inside(name, jit):
    fn = cost.count(WRAPPED[name])
    counts = (jax.jit(fn) if jit else fn)(W, X)
    assert as_ints(counts) == [(12, 12, 12, 3, 3)]


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, scale=1.0):
        x = nn.relu(nn.Conv(4, (3, 3), strides=2, name="conv1")(x))
        x = nn.BatchNorm(use_running_average=True, name="bn1")(x)
        return {"logits": nn.Dense(3, name="fc")(x.mean((1, 2))) * scale, "none": None}


@pytest.mark.slow
def test_the_output_is_that_of_the_function():
    x = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
    variables = Net().init(jax.random.key(1), x)
    output, counts = cost.count(Net().apply, with_output=True)(variables, x, scale=2.0)
    expected = Net().apply(variables, x, scale=2.0)
    assert output["none"] is None
    np.testing.assert_array_equal(output["logits"], expected["logits"])
    jitted = jax.jit(cost.count(Net().apply))(variables, x)
    assert list(jitted) == ["conv1", "fc"]
    assert as_ints(jitted) == as_ints(counts)
    assert as_ints(jax.device_get(jitted)) == as_ints(counts)


def test_python_numbers_keys_and_constants_pass_through():
    def fn(w, x, scale, key):
        noise = jax.random.normal(key, x.shape)
        return (x + 0 * noise) @ w * scale, scale, jnp.arange(3)

    (y, scale, constant), counts = cost.count(fn, with_output=True)(
        W, np.asarray(X, np.float64), 2.0, jax.random.key(0)
    )
    np.testing.assert_array_equal(y, 2 * X @ W)
    assert scale == 2.0
    assert constant.tolist() == [0, 1, 2]
    assert as_ints(counts) == [(12, 12, 12, 3, 3)]


def test_elementwise_products_are_not_counted():
    assert cost.count(lambda w, x: x * jnp.sum(w))(W, X) == {}


def test_loops_and_branches_without_products_pass():
    def fn(w, x):
        x = jax.lax.fori_loop(0, 3, lambda _, y: y + 1, x)
        x = jax.lax.scan(lambda c, row: (c, row + c), 1.0, x)[1]
        return matmul(w, jax.lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x))

    output, counts = cost.count(fn, with_output=True)(W, X)
    np.testing.assert_allclose(output, np.sin(np.full((3, 2), 5.0)) @ W, rtol=1e-6)
    assert as_ints(counts) == [(12, 12, 12, 3, 3)]


def test_custom_derivatives_without_products_stay():
    fn = cost.count(lambda w, x: jax.nn.relu(matmul(w, x)).sum(), with_output=True)
    # The gradient of jax.nn.relu at 0 is 0, that of jnp.maximum is 1/2.
    gradient = jax.grad(lambda w: fn(w, X)[0])(jnp.zeros((2, 2)))
    assert not gradient.any()


def kernel(x, y):
    y[...] = jax.jit(jnp.dot)(x[...], x[...].T)[:, :2]


@jax.custom_batching.custom_vmap
def with_vmap(w, x):
    return matmul(w, x)


with_vmap.def_vmap(lambda size, batched, w, x: (matmul(w, x), True))

UNSUPPORTED = {
    "custom_vmap_call": with_vmap,
    "custom_linear_solve": lambda w, x: jnp.linalg.solve(w, x.T),
    "pallas_call": lambda w, x: pallas.pallas_call(
        kernel, jax.ShapeDtypeStruct(x.shape, x.dtype)
    )(x),
    "ffi_call": lambda w, x: jax.ffi.ffi_call("gemm", jax.typeof(x))(x, w),
}


@pytest.mark.parametrize("looped", [False, True])
@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_cannot_be_counted_is_named(name, looped):
    def fn(w, x):
        with jax.named_scope("block"):
            return UNSUPPORTED[name](w, x)

    def loop(w, x):
        return jax.lax.scan(lambda c, _: (c, fn(w, x)), x, None, length=2)

    with pytest.raises(ValueError, match=f"multiplications of '{name}.*in block: it"):
        jax.jit(cost.count(loop if looped else fn)).trace(W, X)


DTYPES = [jnp.bool, jnp.int4, jnp.int8, jnp.uint32, jnp.float8_e4m3fn]
DTYPES += [jnp.float8_e5m2, jnp.bfloat16, jnp.float16, jnp.complex64]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
def test_operands_of_any_type(dtype):
    w, x = W.astype(dtype), jnp.array([[0, 1], [1, 1], [0, 0]], dtype)
    assert as_ints(jax.jit(cost.count(matmul))(w, x)) == [(12, 12, 6, 3, 1)]


def test_an_imaginary_number_is_nonzero():
    assert as_ints(cost.count(matmul)(1j * W, X)) == [(12, 12, 12, 3, 3)]


def test_nan_and_infinity_are_nonzero_and_negative_zero_is_zero():
    w, x = W * jnp.nan, jnp.array([[jnp.inf, -0.0]] * 3)
    # nan * 0 is nan: all weights are nonzero.
    assert as_ints(cost.count(matmul)(w, x)) == [(12, 12, 6, 12, 6)]


@pytest.mark.parametrize(("n", "k", "m"), [(0, 2, 2), (3, 0, 2), (3, 2, 0), (0, 0, 0)])
def test_operands_without_elements(n, k, m):
    counts = cost.count(matmul)(jnp.ones((k, m)), jnp.ones((n, k)))
    assert as_ints(counts) == [(0, 0, 0, 0, 0)]


def test_dense_and_valid_are_known_while_tracing():
    seen = []

    def fn(w, x):
        (op,) = cost.count(matmul)(w, x).values()
        seen.append((int(op.dense), int(op.valid)))

    jax.eval_shape(fn, *[jax.ShapeDtypeStruct((2**16, 2**16), jnp.float32)] * 2)
    assert seen == [(2**48, 2**48)]


def test_weights_must_be_arguments():
    with pytest.raises(ValueError, match=r"weights must be .* >= 0, got -1"):
        cost.count(matmul, weights=-1)
    with pytest.raises(ValueError, match=r"weights must be below .*2, got 2"):
        cost.count(matmul, weights=(0, 2))(W, X)
    with pytest.raises(TypeError, match="argument positions, got 'params'"):
        unwrap(argument_positions)("params")
    with pytest.raises(ValueError, match=r"argument 0, which holds no arrays: \{\}"):
        cost.count(lambda w, x: x)({}, X)


def test_weights_that_do_not_fit_fail_as_in_the_function():
    with pytest.raises(TypeError, match="dot_general"):
        cost.count(matmul)(jnp.ones((3, 3)), X)


def test_weights_need_not_reach_a_product():
    assert as_ints(cost.count(lambda w, x: x @ x.T + w)(1.0, X)) == [
        (18, 18, 18, 18, 18)
    ]


def test_the_function_keeps_its_name():
    assert cost.count(matmul).__name__ == "matmul"
