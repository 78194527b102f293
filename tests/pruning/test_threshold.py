"""Induction, pruning by a threshold, and proximal steps against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import penalties, pruning

RATE, STRENGTH, INDUCE = 0.1, 0.4, 5
_rng = np.random.default_rng(1)
START, GOAL = _rng.normal(size=(6, 7)), _rng.normal(size=(6, 7))
SLOPES = {
    "l1": np.sign,
    "transformed_l1": lambda w: 0.5 * 1.5 / (0.5 + np.abs(w)) ** 2 * np.sign(w),
}
PENALTIES = {
    "l1": penalties.l1,
    "transformed_l1": penalties.get("transformed_l1", a=0.5),
}


def _train(tx, steps):
    params = {"w": jnp.asarray(START, jnp.float32), "bias": jnp.ones(3)}
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        grads = {"w": params["w"] - jnp.asarray(GOAL, jnp.float32), "bias": jnp.ones(3)}
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    found = []
    for _ in range(steps):
        params, state = step(params, state)
        found.append((params, pruning.get_mask(state)["w"]))
    return found


def _soft(x, t):
    return np.sign(x) * np.maximum(np.abs(x) - t, 0)


@pytest.mark.parametrize("name", SLOPES)
def test_induction_then_pruning_then_fine_tuning_equal_numpy(name):
    tx = pruning.threshold(
        optax.sgd(RATE), induce=INDUCE, strength=STRENGTH, penalty=PENALTIES[name],
        threshold=0.3)  # fmt: skip
    w, mask = START, np.ones_like(START, bool)
    for t, (params, found) in enumerate(_train(tx, 8), start=1):
        slope = STRENGTH * SLOPES[name](w) if t <= INDUCE else 0
        w = mask * (w - RATE * (w - GOAL + slope))
        if t == INDUCE:
            mask = np.abs(w) >= 0.3
            w = mask * w
        np.testing.assert_allclose(params["w"], w, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found, mask)
        np.testing.assert_allclose(params["bias"], 1 - RATE * t, rtol=1e-6)
    assert 0 < mask.sum() < mask.size


def test_a_target_sparsity_in_place_of_the_threshold():
    tx = pruning.threshold(
        optax.sgd(RATE), induce=INDUCE, strength=STRENGTH, penalty=penalties.l1,
        sparsity=0.5)  # fmt: skip
    (before, dense), (_, kept) = _train(tx, INDUCE)[-2:]
    assert dense.all()
    w = np.asarray(before["w"], float)
    moved = w - RATE * (w - GOAL + STRENGTH * np.sign(w))
    middle = np.sort(np.abs(moved), axis=None)[21]
    np.testing.assert_array_equal(kept, np.abs(moved) >= middle)


def test_proximal_steps_equal_numpy_and_leave_zeros_before_pruning():
    tx = pruning.threshold(
        optax.sgd(RATE), induce=INDUCE, strength=3.0, prox=penalties.prox_l1,
        step_size=RATE, threshold=0.0)  # fmt: skip
    w, mask = START, np.ones_like(START, bool)
    for t, (params, found) in enumerate(_train(tx, 8), start=1):
        w = mask * (w - RATE * (w - GOAL))
        w = _soft(w, RATE * 3.0) if t <= INDUCE else w
        mask = w != 0 if t == INDUCE else mask
        np.testing.assert_allclose(params["w"], w, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(params["w"] == 0, w == 0)
        np.testing.assert_array_equal(found, mask)
        if t == INDUCE - 1:
            assert (w == 0).any()
            assert found.all()


def test_proximal_gradient_descent_finds_the_lasso():
    """argmin (w - goal)^2 / 2 + strength |w| is soft thresholding of the goal."""
    tx = pruning.threshold(
        optax.sgd(0.5), induce=60, strength=STRENGTH, prox=penalties.prox_l1,
        step_size=0.5, threshold=0.0)  # fmt: skip
    params, mask = _train(tx, 59)[-1]
    expected = _soft(GOAL, STRENGTH)
    np.testing.assert_allclose(params["w"], expected, atol=1e-5)
    np.testing.assert_array_equal(params["w"] == 0, expected == 0)
    assert mask.all()


def test_the_step_size_may_be_the_optimizers_own_schedule():
    """With no gradient but the penalty's, each step shrinks by strength * rate."""
    rates = optax.piecewise_constant_schedule(0.1, {2: 0.1})
    tx = pruning.threshold(
        optax.sgd(rates), induce=9, strength=1.0, prox=penalties.prox_l1,
        step_size=rates, threshold=0.0)  # fmt: skip
    params = {"w": jnp.full((2, 2), 5.0)}
    state, seen, step = tx.init(params), [], jax.jit(tx.update)
    for _ in range(4):
        updates, state = step({"w": jnp.zeros((2, 2))}, state, params)
        params = optax.apply_updates(params, updates)
        seen.append(float(params["w"][0, 0]))
    np.testing.assert_allclose(seen, [4.9, 4.8, 4.79, 4.78], rtol=1e-6)


def test_proximal_steps_after_adam_leave_exact_zeros():
    tx = pruning.threshold(
        optax.adamw(0.05, weight_decay=0.1), induce=9, strength=4.0,
        prox=penalties.prox_transformed_l1, step_size=0.05, threshold=0.0)  # fmt: skip
    zeros = [int((params["w"] == 0).sum()) for params, _ in _train(tx, 9)]
    assert 0 < zeros[-2] < 42


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.1}, "exactly one of penalty and prox must be given"),
        (
            {"threshold": 0.1, "penalty": penalties.l1, "prox": penalties.prox_l1},
            "exactly one of penalty and prox must be given",
        ),
        (
            {"threshold": 0.1, "prox": penalties.prox_l1},
            "step_size goes with prox, got step_size=None",
        ),
        (
            {"threshold": 0.1, "penalty": penalties.l1, "step_size": 0.1},
            "step_size goes with prox, got step_size=0.1",
        ),
        (
            {"penalty": penalties.l1},
            "exactly one of threshold and sparsity must be given, got threshold=None",
        ),
        (
            {"penalty": penalties.l1, "threshold": 0.1, "sparsity": 0.5},
            "exactly one of threshold and sparsity",
        ),
        (
            {"penalty": penalties.l1, "threshold": -0.1},
            "threshold must be a finite number >= 0, got -0.1",
        ),
        (
            {"penalty": penalties.l1, "sparsity": 1.0},
            r"sparsity must be in \[0, 1\), got 1.0",
        ),
        (
            {"prox": penalties.prox_l1, "step_size": -1, "threshold": 0.1},
            "step_size must be a finite number >= 0, got -1",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.threshold(optax.sgd(0.1), induce=2, strength=0.1, **options)
