from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import cost, models
from dst_jax.activations import (
    apply_spatial,
    apply_with_activations,
    keep_top_k,
    through,
)


@pytest.fixture(scope="module")
def x():
    return jax.random.normal(jax.random.key(1), (3, 28, 28, 1))


@pytest.fixture(scope="module")
def model():
    return models.create("lenet5", num_classes=10)


@pytest.fixture(scope="module")
def variables(model, x):
    return model.init(jax.random.key(0), x)


def _maps(model, variables, x, functions):
    with through(functions):
        return apply_with_activations(model, variables, x)


@pytest.mark.slow
def test_every_example_keeps_its_largest(model, variables, x):
    top = {"relu1": partial(keep_top_k, k=50)}
    _, before, _ = apply_with_activations(model, variables, x)
    logits, after, _ = jax.jit(lambda v, x: _maps(model, v, x, top))(variables, x)
    np.testing.assert_allclose(after["relu1"], keep_top_k(before["relu1"], 50))
    assert (np.count_nonzero(after["relu1"], axis=(1, 2, 3)) == 50).all()
    assert not np.allclose(logits, model.apply(variables, x))


def test_it_ends_with_the_block(model, variables, x):
    _maps(model, variables, x, {"relu": jnp.zeros_like})
    expected = jax.jit(model.apply)(variables, x)
    np.testing.assert_array_equal(jax.jit(model.apply)(variables, x), expected)
    assert (expected != 0).any()


def test_the_first_match_wins_and_others_pass_unchanged(model, variables, x):
    functions = {"relu1$": lambda x: 2 * x, "relu": lambda x: x + 1}
    _, maps, _ = _maps(model, variables, x, functions)
    _, before, _ = apply_with_activations(model, variables, x)
    np.testing.assert_array_equal(maps["relu1"], 2 * before["relu1"])
    _, maps, _ = _maps(model, variables, x, {"relu4": jnp.zeros_like})
    np.testing.assert_array_equal(maps["relu3"], before["relu3"])
    assert (maps["relu4"] == 0).all()


@pytest.mark.slow
def test_gradients_and_counts_see_what_is_left(model, variables, x):
    mask = jnp.zeros((24, 24), bool).at[:12].set(True)
    spatial = {"relu1": partial(apply_spatial, mask=mask)}

    def forward(variables, x):
        with through(spatial):
            return model.apply(variables, x)

    dense = cost.count(model.apply)(variables, x)
    sparse = cost.count(forward)(variables, x)
    assert int(sparse["conv2"].effectual) < int(dense["conv2"].effectual)
    gradient = jax.grad(lambda x: forward(variables, x).sum())(x)
    assert (gradient[:, 16:] == 0).all()  # rows that only removed positions see
    assert (gradient[:, :12] != 0).any()


def test_functions_must_keep_the_form(model, variables, x):
    with pytest.raises(ValueError, match=r"function for relu1 must keep shape"):
        _maps(model, variables, x, {"relu1": lambda x: x[:1]})
    with pytest.raises(ValueError, match=r"'\(' is not a regex"):
        _maps(model, variables, x, {"(": lambda x: x})


def test_a_regex_that_matches_no_tap_names_the_taps(model, variables, x):
    functions = {"relu1$": jnp.abs, "rleu2": jnp.abs}
    with pytest.raises(ValueError, match=r"\['rleu2'\] match none of: relu1, relu2"):
        _maps(model, variables, x, functions)
    with through({"relu": jnp.abs, "relu1": jnp.abs, "2$": jnp.abs}):  # shadowed
        jax.eval_shape(model.apply, variables, x)
    with through({"rleu2": jnp.abs}):  # nothing is traced
        pass
    with pytest.raises(KeyError):
        _and_then_fail(model, variables, x)


def _and_then_fail(model, variables, x):
    with through({"rleu2": jnp.abs}):
        jax.eval_shape(model.apply, variables, x)
        raise KeyError
