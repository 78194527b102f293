from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import penalties

# Compiled as a whole: op by op it takes seconds.
group_lasso = jax.jit(penalties.group_lasso, static_argnames=("group_axis", "axis"))
prox_group_lasso = jax.jit(penalties.prox_group_lasso, static_argnames="group_axis")

KERNEL = jax.random.normal(jax.random.key(0), (3, 3, 4, 5))


@pytest.mark.parametrize(
    ("group_axis", "within"), [(-1, (0, 1, 2)), (2, (0, 1, 3)), ((0, 1), (2, 3))]
)
def test_sums_the_norms_of_the_groups(group_axis, within):
    x = np.asarray(KERNEL, np.float64)
    expected = np.sqrt((x * x).sum(within)).sum()
    found = group_lasso(KERNEL, group_axis=group_axis)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_channels_of_a_batch_of_maps():
    maps = jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    x = np.asarray(maps, np.float64)
    expected = np.sqrt((x * x).sum((1, 2))).sum() / 2
    np.testing.assert_allclose(
        penalties.total({"relu": maps}, group_lasso), expected, rtol=1e-6
    )


def test_gradient_is_the_unit_vector_of_each_group_and_zero_in_an_empty_one():
    x = KERNEL.at[..., 1].set(0)
    grad = np.asarray(jax.jit(jax.grad(group_lasso))(x))
    assert (grad[..., 1] == 0).all()
    norms = np.sqrt((grad**2).sum((0, 1, 2)))
    np.testing.assert_allclose(norms, [1, 0, 1, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(
        grad[..., 0], x[..., 0] / jnp.linalg.norm(x[..., 0]), rtol=1e-5
    )


def test_curvature_is_that_of_a_norm():
    x, v = jnp.array([[3.0], [4.0]]), jnp.array([[1.0], [2.0]])
    hessian_v = jax.jit(lambda: jax.jvp(jax.grad(group_lasso), (x,), (v,))[1])()
    unit = np.array([[0.6], [0.8]])
    expected = (v - unit * (unit * v).sum()) / 5
    np.testing.assert_allclose(hessian_v, expected, rtol=1e-5)


def test_prox_minimises_and_removes_whole_groups():
    y = jnp.array([[0.3, 2.0, -1.0], [0.4, -1.0, 0.2]])
    found = prox_group_lasso(y, 0.6)
    assert (found[:, 0] == 0).all()
    assert (found[:, 1:] != 0).all()

    def objective(x):
        return jnp.square(x - y).sum() / 2 + 0.6 * group_lasso(x)

    steps = 0.05 * jax.random.normal(jax.random.key(2), (2000, 2, 3))
    around = jax.jit(jax.vmap(lambda step: objective(found + step)))(steps)
    assert (around >= objective(found) - 1e-6).all()


def test_prox_of_a_batch_of_maps_is_that_of_each_map():
    maps = jax.random.normal(jax.random.key(3), (2, 3, 3, 2))
    batched = prox_group_lasso(maps, 2.0, group_axis=(0, -1))
    each = jax.jit(jax.vmap(partial(prox_group_lasso, strength=2.0)))(maps)
    np.testing.assert_allclose(batched, each, rtol=1e-6)


def test_an_axis_out_of_range_is_named():
    with pytest.raises(
        ValueError, match=r"axis must be axes of an array of shape \(2,"
    ):
        group_lasso(jnp.ones(2), group_axis=3)
