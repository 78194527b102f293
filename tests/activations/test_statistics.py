import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax.activations import counts, sparsity


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 5),
    st.lists(st.lists(st.integers(1, 4), max_size=3), min_size=1, max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_equals_numpy(batch, shapes, seed):
    rng = np.random.default_rng(seed)
    maps = {
        f"relu{i}": rng.integers(0, 2, (batch, *shape)).astype(np.float32)
        for i, shape in enumerate(shapes)
    }
    found = sparsity({k: jnp.asarray(x) for k, x in maps.items()})
    shares = {k: np.mean(x == 0) for k, x in maps.items()}
    zeros = sum((x == 0).sum() for x in maps.values())
    np.testing.assert_allclose(
        [found.per_layer[k] for k in maps], list(shares.values()), rtol=1e-6
    )
    np.testing.assert_allclose(
        found.layer_mean, np.mean(list(shares.values())), rtol=1e-6
    )
    np.testing.assert_allclose(
        found.element, zeros / sum(x.size for x in maps.values()), rtol=1e-6
    )


def test_counts_are_exact_per_example():
    x = jnp.array([[0.0, -0.0, 1.0], [jnp.nan, 0.0, 1e-45]])
    # A subnormal is no zero, wherever the device does not flush it.
    flushed = int((jnp.float32(1e-45) * 1 == 0).item())
    assert counts({"relu": x})["relu"].tolist() == [2, 1 + flushed]
    assert counts({"relu": x})["relu"].dtype == jnp.int32


def test_jit_and_bfloat16():
    x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 50, 50), jnp.bfloat16))
    found = jax.jit(sparsity)({"relu": x})
    assert found.element == np.mean(np.asarray(x, np.float32) == 0).astype(np.float32)


def test_no_maps_is_an_error():
    with pytest.raises(ValueError, match="the model has no Tap"):
        sparsity({})


@pytest.mark.parametrize("statistic", [counts, sparsity])
@pytest.mark.parametrize("shape", [(0, 3), (4, 0)])
def test_an_empty_map_is_named(statistic, shape):
    maps = {"relu1": jnp.ones((2, 3)), "relu2": jnp.ones(shape)}
    with pytest.raises(ValueError, match="the map relu2 is empty: its shape is"):
        statistic(maps)


def test_the_counts_of_no_maps_are_empty():
    assert counts({}) == {}
