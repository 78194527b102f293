import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, cost, models
from dst_jax.activations import apply_with_activations, with_thresholds


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(1), (3, 28, 28, 1))


@pytest.fixture(scope="module")
def model():
    return models.create("lenet5", num_classes=10)


@pytest.fixture(scope="module")
def variables(model, x):
    return model.init(jax.random.key(0), x)


@pytest.mark.slow
def test_a_threshold_zeroes_what_is_below_it_and_what_follows_sees_that(
    model, variables, x
):
    _, before, _ = apply_with_activations(model, variables, x)
    changed = with_thresholds(variables, {"relu1": 0.3, "relu3": 0.05})
    logits, after, _ = apply_with_activations(model, changed, x)
    expected = np.where(before["relu1"] >= 0.3, before["relu1"], 0)
    np.testing.assert_array_equal(after["relu1"], expected)
    assert 0 < (expected > 0).sum() < (before["relu1"] > 0).sum()
    assert not np.array_equal(after["relu2"], before["relu2"])
    kept = np.asarray(after["relu3"])
    assert (kept[kept > 0] >= 0.05).all()
    np.testing.assert_array_equal(logits, model.apply(changed, x))


def test_soft_thresholds_shift(model, variables, x):
    _, before, _ = apply_with_activations(model, variables, x)
    changed = with_thresholds(variables, {"relu1": 0.3}, kind="soft")
    _, after, _ = apply_with_activations(model, changed, x)
    np.testing.assert_array_equal(
        after["relu1"], np.maximum(before["relu1"] - np.float32(0.3), 0)
    )


def test_thresholds_may_differ_by_channel(model, variables, x):
    t = jnp.array([0.0, 0.1, 0.2, 0.3, 0.4, 1e6])
    _, before, _ = apply_with_activations(model, variables, x)
    changed = with_thresholds(variables, {"relu1": t})
    _, after, _ = apply_with_activations(model, changed, x)
    expected = np.where(
        np.asarray(before["relu1"]) >= np.asarray(t), before["relu1"], 0
    )
    np.testing.assert_array_equal(after["relu1"], expected)
    assert (after["relu1"][..., -1] == 0).all()


def test_another_value_does_not_compile_again(model, variables, x):
    chex.clear_trace_counter()
    once = chex.assert_max_traces(lambda v, x: model.apply(v, x), n=1)
    apply = jax.jit(once)
    ends = [apply(with_thresholds(variables, {"relu1": t}), x) for t in (0.0, 0.5)]
    np.testing.assert_array_equal(ends[0], jax.jit(model.apply)(variables, x))
    assert not np.array_equal(*ends)


def test_the_zeros_are_counted_as_saved(model, variables, x):
    total = jax.jit(cost.count(lambda v, x: model.apply(v, x)))
    before = total(variables, x)
    after = total(with_thresholds(variables, {"relu1": 0.3}), x)
    assert int(after["conv1"].effectual) == int(before["conv1"].effectual)
    assert int(after["conv2"].effectual) < int(before["conv2"].effectual)


def test_thresholds_are_read_back_and_replaced():
    first = with_thresholds({"params": {}}, {"layer1/0/relu1": 0.5})
    assert activations.thresholds_of({"params": {}}) == {}
    found = activations.thresholds_of(first)
    assert list(found) == ["layer1/0/relu1"]
    assert float(found["layer1/0/relu1"]) == 0.5
    second = with_thresholds(first, {"relu": 1.0}, kind="soft")
    assert list(activations.thresholds_of(second)) == ["relu"]
    assert second["params"] == {}


def test_the_gradient_passes_where_entries_are_kept():
    tap = nn.Sequential([nn.relu, activations.Tap()])
    variables = with_thresholds({}, {"layers_1": 0.5})
    gradient = jax.grad(lambda x: tap.apply(variables, x).sum())
    assert gradient(jnp.array([-1.0, 0.25, 0.75])).tolist() == [0, 0, 1]


def test_an_unknown_kind_lists_the_known():
    with pytest.raises(ValueError, match=r"kind must be one of \('hard', 'soft'\)"):
        with_thresholds({}, {"relu": 1.0}, kind="fat")
