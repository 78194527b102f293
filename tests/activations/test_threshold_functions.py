import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dst_jax.activations import (
    fat_relu,
    hard_threshold,
    percentile_thresholds,
    soft_threshold,
)
from dst_jax.penalties import prox_l1

X = jax.random.normal(jax.random.key(0), (2, 3, 3, 4))
FUNCTIONS = {
    "fat_relu": (fat_relu, lambda x, t: np.where((x >= t) & (x > 0), x, 0)),
    "hard_threshold": (hard_threshold, lambda x, t: np.where(np.abs(x) > t, x, 0)),
    "soft_threshold": (
        soft_threshold,
        lambda x, t: np.sign(x) * np.maximum(np.abs(x) - t, 0),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("t", [0.0, 0.5, np.array([0.0, 0.1, 0.5, 3.0], np.float32)])
def test_equals_numpy_and_passes_gradients_where_kept(name, t):
    function, reference = FUNCTIONS[name]
    run = jax.jit(lambda x, t: jax.vjp(lambda x: function(x, t), x))
    found, vjp = run(X, t)
    np.testing.assert_allclose(found, reference(np.asarray(X), t), atol=1e-7)
    (grad,) = vjp(jnp.ones_like(found))
    np.testing.assert_array_equal(grad, (np.asarray(found) != 0) * 1.0)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_traced_thresholds_vmap_and_bfloat16(name):
    function, reference = FUNCTIONS[name]

    traces = []

    @jax.jit
    def run(x, t):
        traces.append(t)
        return jax.vmap(function, in_axes=(0, None))(x, t)

    x = jnp.asarray(X, jnp.bfloat16)
    for t in (0.25, 1.0):  # exact in bfloat16
        found = run(x, t)
        assert found.dtype == jnp.bfloat16
        expected = reference(np.asarray(x, np.float32), t)
        np.testing.assert_allclose(np.asarray(found, np.float32), expected, rtol=2**-7)
    assert len(traces) == 1


def test_fat_relu_at_zero_is_the_relu_before_and_after_it():
    x = jnp.array([-1.0, 0.0, 0.5])
    assert (fat_relu(x, 0.0) == jax.nn.relu(x)).all()
    assert (jax.grad(lambda x: fat_relu(x, 0.0).sum())(x) == jnp.array([0, 0, 1])).all()
    assert (fat_relu(jax.nn.relu(X), 0.3) == fat_relu(X, 0.3)).all()


def test_soft_threshold_is_the_prox_of_l1_and_trains_its_threshold():
    np.testing.assert_allclose(soft_threshold(X, 0.3), prox_l1(X, 0.3), atol=1e-7)
    slope = jax.grad(
        lambda t: soft_threshold(jnp.array([2.0, 0.1, -3.0, 4.0]), t).sum()
    )
    assert slope(0.5) == -1.0


@given(st.sampled_from([1, 7, 40]), st.floats(0, 0.999), st.integers(0, 99))
def test_percentiles_leave_that_sparsity_and_no_more(n, sparsity, seed):
    x = np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32)
    t = percentile_thresholds({"relu": jnp.asarray(x)}, sparsity)["relu"]
    zeros = (np.abs(x) <= t).sum()
    assert zeros == int(np.ceil(sparsity * x.size - 1e-9))


def test_percentiles_by_rule_for_the_maps_that_one_matches():
    maps = {"conv/relu": X, "fc1/relu": X, "fc2/relu": X}
    found = percentile_thresholds(maps, [("fc1", 0.25), ("fc", 0.5)])
    assert list(found) == ["fc1/relu", "fc2/relu"]
    assert found["fc1/relu"] < found["fc2/relu"]
    with pytest.raises(ValueError, match="'fc3' matches none of"):
        percentile_thresholds(maps, [("fc3", 0.5)])
    with pytest.raises(ValueError, match=r"fc1/relu must be in \[0, 1\), got 1.0"):
        percentile_thresholds(maps, [("fc1", 1.0)])


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("t", [-0.1, float("nan"), np.array([0.1, -1, 0, 0])])
def test_a_bad_threshold_is_named(name, t):
    with pytest.raises(ValueError, match="t must be finite and >= 0"):
        FUNCTIONS[name][0](X, t)


@pytest.mark.parametrize("t", [0.0, 0.5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_nan(name, t):
    x = jnp.array([jnp.nan, 1.0, -jnp.nan, 0.0])
    found = FUNCTIONS[name][0](x, t)
    assert jnp.isnan(found).tolist() == [True, False, True, False]


def test_maps_without_ranks_are_named():
    for x, message in [
        (jnp.array([0.0, jnp.nan]), "map relu holds NaN"),
        (jnp.ones((0, 3)), "map relu is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            percentile_thresholds({"relu": x}, 0.5)
