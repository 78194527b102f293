"""What convolutions with derivatives of their own must have in common with XLA's."""

from functools import partial

import jax
import numpy as np


def check_derivatives(convolve, x, kernel, weights=1.0, *, tolerance):
    """Value to the bit, all derivatives up to rounding.

    `convolve(x, kernel, products=...)` is derived by products, or as XLA does.
    """

    @partial(jax.jit, static_argnums=0)
    def results(products):
        f = partial(convolve, products=products)

        def loss(kernel, x):
            return (weights * f(x, kernel) ** 2).sum()

        gradient = jax.grad(loss, argnums=(0, 1))
        second = jax.grad(lambda kernel: (gradient(kernel, x)[1] ** 2).sum())
        tangent = jax.jvp(f, (x, kernel), (x + 1, 2 * kernel))
        batched = jax.vmap(gradient, (None, 0))(kernel, x[:, None])
        return f(x, kernel), tangent, gradient(kernel, x), second(kernel), batched

    ours, theirs = results(True), results(False)
    np.testing.assert_array_equal(ours[0], theirs[0])
    for found, right in zip(*map(jax.tree.leaves, (ours, theirs)), strict=True):
        assert found.dtype == right.dtype
        found, right = (np.asarray(g, np.float64) for g in (found, right))
        atol = tolerance * np.abs(right).max()
        np.testing.assert_allclose(found, right, rtol=tolerance, atol=atol)
