from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.activations import keep_top_k, sparsify_saved

X = jax.random.normal(jax.random.key(0), (3, 4, 5))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_keeps_the_largest_of_every_example(dtype):
    traces = []

    @jax.jit
    def run(x, k):
        traces.append(k)
        found, vjp = jax.vjp(lambda x: keep_top_k(x, k), x)
        return found, vjp(jnp.ones_like(found))[0]

    x = X.astype(dtype)
    for k in (0, 1, 7, 20, 99):
        found, grad = run(x, k)
        assert found.dtype == dtype
        assert ((found != 0).sum((1, 2)) == min(k, 20)).all()
        found, size = np.asarray(found, np.float32), abs(np.asarray(x, np.float32))
        smallest = np.where(found != 0, size, np.inf).min((1, 2))
        largest = np.where(found == 0, size, -np.inf).max((1, 2))
        assert (smallest >= largest).all()
        assert (abs(found) == size * (found != 0)).all()
        np.testing.assert_array_equal(grad, (found != 0) * 1.0)
    assert len(traces) == 1


def test_examples_do_not_compete_and_ties_go_to_the_first():
    assert (keep_top_k(X, 5)[1:2] == keep_top_k(X[1:2], 5)).all()
    equal = keep_top_k(jnp.ones((3, 4, 5)), 19)
    assert equal.sum((1, 2)).tolist() == [19] * 3
    assert equal[:, -1, -1].tolist() == [0] * 3


def test_only_the_weight_gradient_sees_the_sparse_copy():
    keep = partial(keep_top_k, k=2)
    matmul = sparsify_saved(jnp.matmul, keep)
    x, w = X[:, 0], jax.random.normal(jax.random.key(1), (5, 2))

    @jax.jit
    def run(x, w):
        y, vjp = jax.vjp(matmul, x, w)
        return y, vjp(jnp.ones_like(y))

    y, (x_bar, w_bar) = run(x, w)
    np.testing.assert_allclose(y, x @ w, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(x_bar, np.ones((3, 2)) @ w.T, rtol=1e-5, atol=1e-6)
    sparse = np.asarray(keep(x))
    np.testing.assert_allclose(w_bar, sparse.T @ np.ones((3, 2)), rtol=1e-5, atol=1e-6)


def test_in_flax_layers():
    """The seam that SWAT needs is already there: the layers' own operations."""
    keep = partial(keep_top_k, k=3)
    conv = sparsify_saved(jax.lax.conv_general_dilated, keep)
    dot = sparsify_saved(jax.lax.dot_general, keep)
    sparse = nn.Sequential(
        [nn.Conv(2, (3, 3), conv_general_dilated=conv), nn.Dense(2, dot_general=dot)]
    )
    dense = nn.Sequential([nn.Conv(2, (3, 3)), nn.Dense(2)])
    x = X[..., None]
    variables = dense.init(jax.random.key(0), x)

    @jax.jit
    def grads(variables):
        return [
            jax.value_and_grad(lambda v, m=model: m.apply(v, x).sum())(variables)
            for model in (sparse, dense)
        ]

    (value, grad), (expected, dense_grad) = grads(variables)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    grad, dense_grad = grad["params"], dense_grad["params"]
    for layer in grad:
        np.testing.assert_allclose(
            grad[layer]["bias"], dense_grad[layer]["bias"], rtol=1e-5
        )
        gap = abs(grad[layer]["kernel"] - dense_grad[layer]["kernel"]).max()
        assert gap > 1e-2


def test_nan_is_kept():
    found = keep_top_k(jnp.array([[jnp.nan, 3.0, 2.0]]), 1)
    assert jnp.isnan(found[0, 0])
