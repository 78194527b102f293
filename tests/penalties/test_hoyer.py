import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import penalties

# Compiled as a whole: op by op it takes seconds.
hoyer, hoyer_square, hoyer_square_batch = (
    jax.jit(function, static_argnames=("axis", "eps"))
    for function in (
        penalties.hoyer,
        penalties.hoyer_square,
        penalties.hoyer_square_batch,
    )
)


def test_counts_equal_entries_and_ignores_scale():
    x = jnp.array([1.0, 1.0, 1.0, 0.0])
    for scale in (1e-3, 1.0, 1e10, 1e30):
        np.testing.assert_allclose(hoyer_square(scale * x), 3.0, rtol=1e-3)


def test_small_entries_are_pushed_down_and_large_ones_up():
    slope = jax.jit(jax.grad(hoyer_square))(jnp.array([0.1, 2.0]))
    assert slope[0] > 0 > slope[1]


def test_bad_eps_is_named():
    with pytest.raises(ValueError, match="eps must be a finite number > 0"):
        hoyer_square(jnp.ones(2), eps=0.0)


def test_hoyer_is_the_root_of_its_square():
    x = jax.random.normal(jax.random.key(0), (3, 20))
    np.testing.assert_allclose(
        hoyer(x, axis=1) ** 2, hoyer_square(x, axis=1), rtol=1e-5
    )


def test_whole_batch_is_one_vector_divided_by_its_size():
    x = jnp.arange(24.0).reshape(4, 2, 3)
    found = penalties.total({"relu": x}, hoyer_square_batch)
    flat = np.asarray(x, np.float64).ravel()
    np.testing.assert_allclose(found, flat.sum() ** 2 / (flat**2).sum() / 4, rtol=1e-6)
    assert found != penalties.total({"relu": x}, hoyer_square)
    shares = hoyer_square_batch(x, axis=-1)
    assert shares.shape == (4, 2)
    np.testing.assert_allclose(shares.sum(), hoyer_square(x), rtol=1e-6)
