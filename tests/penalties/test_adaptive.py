"""The feedback on small closed loops, all convex: the aim in command is reached."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax.penalties import adaptive, prox_capped_l1, prox_l1

SIGNAL = jax.random.normal(jax.random.key(0), (1000,))


def _denoise(strength):
    """argmin_x |x - signal|^2 / 2 + strength |x|_1: its sparsity and its loss."""
    x = prox_l1(SIGNAL, strength)
    return (x == 0).mean(), jnp.square(x - SIGNAL).mean() / 2


def _run(plant, levels, steps=400, **options):
    @jax.jit
    def run(state):
        def step(state, _):
            measured, loss = plant(state.levels)
            return adaptive.update(state, measured, loss, **options), (measured, loss)

        return jax.lax.scan(step, state, None, length=steps)

    state, history = run(adaptive.init(levels))
    return state, [float(series[-1]) for series in history]


@pytest.mark.parametrize("start", [1e-3, 50.0])
def test_reaches_the_target_from_below_and_above(start):
    state, (sparsity, loss) = _run(
        _denoise, start, target=0.8, max_loss=10.0, gain=0.5, steps=800
    )
    assert abs(sparsity - 0.8) < 0.005
    assert loss < 10.0
    quantile = np.quantile(np.abs(SIGNAL), 0.8)
    np.testing.assert_allclose(state.levels, quantile, rtol=0.02)


def test_stops_at_the_bound_of_the_loss():
    _, (_, unbounded) = _run(_denoise, 0.01, target=0.8, max_loss=10.0, gain=0.5)
    bound = 0.5 * unbounded
    _, (sparsity, loss) = _run(_denoise, 0.01, target=0.8, max_loss=bound, gain=0.5)
    assert abs(loss / bound - 1) < 0.01
    assert 0.2 < sparsity < 0.75


def test_a_network_that_lags_behind():
    """One proximal gradient step of a lasso per update: the plant has a memory."""
    keys = jax.random.split(jax.random.key(1))
    a = jax.random.normal(keys[0], (40, 80)) / np.sqrt(40)
    b = a @ jnp.where(jnp.arange(80) < 20, 1.0, 0.05)
    size = 1 / np.linalg.norm(a, 2) ** 2

    @jax.jit
    def run():
        def step(carry, _):
            x, state = carry
            x = prox_l1(x - size * a.T @ (a @ x - b), size * state.levels)
            sparsity, loss = (x == 0).mean(), jnp.square(a @ x - b).sum() / 2
            state = adaptive.update(state, sparsity, loss, target=0.7, max_loss=1e3)
            return (x, state), sparsity

        carry = jnp.zeros(80), adaptive.init(1e-3)
        return jax.lax.scan(step, carry, None, length=3000)

    (_, state), history = run()
    assert abs(history[-200:].mean() - 0.7) < 0.02
    assert state.levels > 1e-2


def test_strength_and_threshold_share_the_work():
    def plant(levels):
        t = levels["threshold"]
        x = prox_capped_l1(SIGNAL, levels["strength"], theta=2 * t)
        x = jnp.where(jnp.abs(x) >= t, x, 0)
        return (x == 0).mean(), jnp.square(x - SIGNAL).mean() / 2

    start = {"strength": 0.01, "threshold": 0.01}
    gain = {"strength": 0.5, "threshold": 0.25}
    state, (sparsity, loss) = _run(plant, start, target=0.8, max_loss=10.0, gain=gain)
    assert abs(sparsity - 0.8) < 0.01
    # What lies beyond 2 t is left alone, so that the same sparsity costs less.
    _, (_, loss_of_l1) = _run(_denoise, 0.01, target=0.8, max_loss=10.0, gain=0.5)
    assert loss < 0.6 * loss_of_l1
    # Both follow one step, each with its own gain.
    grown = {name: np.log(state.levels[name] / 0.01) for name in start}
    np.testing.assert_allclose(grown["strength"], 2 * grown["threshold"], rtol=1e-3)


def test_running_means_start_with_the_first_measurement():
    state = adaptive.update(adaptive.init(1.0), 0.5, 2.0, target=0.5, max_loss=4.0)
    assert (state.measured, state.loss, state.updates) == (0.5, 2.0, 1)
    state = adaptive.update(state, 1.0, 4.0, target=0.5, max_loss=4.0)
    assert (state.measured, state.loss) == (0.75, 3.0)


def test_levels_stay_within_their_bounds():
    options = {"max_loss": 1.0, "gain": 5.0, "lowest": 0.5, "highest": 2.0}
    state = adaptive.init({"conv": 1.0, "fc": 1.5})
    up = adaptive.update(state, 0.0, 0.0, target=1.0, **options)
    assert list(up.levels.values()) == [2.0, 2.0]
    down = adaptive.update(state, 0.0, 9.0, target=1.0, **options)
    assert list(down.levels.values()) == [0.5, 0.5]


def test_targets_and_bounds_do_not_recompile():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def update(state, target, max_loss, gain):
        return adaptive.update(
            state, 0.5, 1.0, target=target, max_loss=max_loss, gain=gain
        )

    state = adaptive.init(1.0)
    for target, max_loss in [(0.9, 2.0), (0.7, 4.0)]:
        state = update(state, target, max_loss, 0.1)
    assert state.levels > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 1.2}, r"target must be a finite number in \[0, 1\], got 1.2"),
        ({"max_loss": 0.0}, "max_loss must be a finite number > 0, got 0.0"),
        ({"memory": 1.0}, r"memory must be a finite number in \[0, 1\), got 1.0"),
    ],
)
def test_bad_options_are_named(options, message):
    options = {"target": 0.5, "max_loss": 1.0} | options
    with pytest.raises(ValueError, match=message):
        adaptive.update(adaptive.init(1.0), 0.5, 0.5, **options)


def test_a_level_must_be_positive():
    with pytest.raises(ValueError, match="levels must be a finite number > 0, got 0"):
        adaptive.init({"strength": 0.0})
