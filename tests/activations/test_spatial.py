import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax.activations import (
    apply_spatial,
    channel_l1,
    random_scores,
    spatial_mask,
)


def test_removes_that_many_positions_of_least_score():
    scores = jax.random.uniform(jax.random.key(0), (6, 7))
    masks = jax.jit(jax.vmap(lambda s: spatial_mask(scores, s)))(
        jnp.array([0.0, 0.25, 0.5, 1.0])
    )
    assert (~masks).sum((1, 2)).tolist() == [0, 10, 21, 42]  # 10.5 goes to the even
    half = masks[2]
    assert scores[half].min() > scores[~half].max()


def test_layers_mask_the_same_regions():
    sizes = {"relu1": (24, 24), "relu2": (8, 8), "relu3": (5, 3)}
    scores = random_scores(jax.random.key(1), sizes)
    fine, coarse = np.asarray(scores["relu1"]), np.asarray(scores["relu2"])
    blocks = fine.reshape(8, 3, 8, 3).mean((1, 3))
    np.testing.assert_allclose(coarse, blocks, rtol=1e-5)
    # Windows of adaptive pooling as torch has them: 0-5, 4-10, 9-15, 14-20, 19-24.
    first = fine[0:5, 0:8].mean(), fine[4:10, 8:16].mean()
    np.testing.assert_allclose(
        [scores["relu3"][0, 0], scores["relu3"][1, 1]], first, rtol=1e-5
    )


def test_all_channels_of_a_position_go_and_get_no_gradient():
    x = jnp.ones((2, 3, 3, 4), jnp.bfloat16)
    mask = spatial_mask(jnp.arange(9.0).reshape(3, 3), 1 / 3)
    found = apply_spatial(x, mask)
    assert found.dtype == jnp.bfloat16
    assert ((found == 0).all((0, 3)) == ~mask).all()
    grad = jax.grad(lambda x: apply_spatial(x, mask).astype(jnp.float32).sum())(x)
    assert (grad == found).all()


def test_scores_from_the_maps():
    x = jax.random.normal(jax.random.key(0), (5, 2, 2, 3))
    expected = np.abs(np.asarray(x)).sum(-1).mean(0)
    np.testing.assert_allclose(channel_l1(x), expected, rtol=1e-5)


def test_the_polynomial_schedule_is_traced():
    schedule = optax.polynomial_schedule(0.0, 0.5, power=2, transition_steps=10)
    scores = jnp.arange(100.0).reshape(10, 10)
    kept = jax.jit(lambda step: spatial_mask(scores, schedule(step)).sum())
    assert [int(kept(step)) for step in (0, 5, 10, 20)] == [100, 62, 50, 50]


@pytest.mark.parametrize("sizes", [{}, {"relu": (0, 4)}])
def test_bad_sizes_are_named(sizes):
    with pytest.raises(ValueError, match="sizes must be positive and not empty"):
        random_scores(jax.random.key(0), sizes)
