"""HALO against the derivatives of its objective, by autodiff."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning

AT, RATE, XI, PSI = 4, 0.1, 0.05, 0.2
START = {
    "a": jax.random.normal(jax.random.key(0), (6, 5)),
    "b": jax.random.normal(jax.random.key(1), (4, 3)),
}
GOAL = jax.tree.map(lambda w: jnp.sin(9 * w), START)


def _objective(learned, budget):
    w, lam = learned
    leaves = list(zip(*map(jax.tree.leaves, (w, lam, GOAL)), strict=True))
    loss = sum(jnp.sum((v - t) ** 2) / 2 for v, _, t in leaves)
    lasso = sum(jnp.sum(jnp.abs(v) / c**2) for v, c, _ in leaves)
    total = sum(jnp.sum(jnp.abs(c)) for _, c, _ in leaves)
    return loss + XI * lasso + PSI * jnp.abs(total - budget)


@functools.cache
def _train(budget, steps=6):
    tx = pruning.halo(
        optax.sgd(RATE), sparsity=0.5, at=AT, xi=XI, psi=PSI, budget=budget,
        coefficients=optax.sgd(RATE))  # fmt: skip
    params, state = START, tx.init(START)
    found, step = [], jax.jit(tx.update)
    for _ in range(steps):
        grads = jax.tree.map(jnp.subtract, params, GOAL)
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
        found.append((params, state))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("budget", [0.0, 60.0])  # more than the 42 at first
def test_weights_and_coefficients_follow_their_derivatives(budget):
    w, lam = START, jax.tree.map(jnp.ones_like, START)
    for params, state in _train(budget)[: AT - 1]:
        of_w, of_lam = jax.grad(_objective)((w, lam), budget)
        w = jax.tree.map(lambda v, g: v - RATE * g, w, of_w)
        lam = jax.tree.map(lambda v, g: v - RATE * g, lam, of_lam)
        for k in "ab":
            np.testing.assert_allclose(params[k], w[k], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(state.memory.value[k], lam[k], rtol=1e-4)
            assert pruning.get_mask(state)[k].all()
    assert not np.allclose(lam["a"], 1)


def test_the_smallest_weights_go_at_once_and_no_penalty_is_left():
    before, at, after = (_train(0.0)[t - 1] for t in (AT - 1, AT, AT + 1))
    mask = pruning.get_mask(at[1])
    assert sum(int(m.sum()) for m in mask.values()) == 21
    kept = np.concatenate([np.abs(before[0][k])[mask[k]] for k in "ab"])
    gone = np.concatenate([np.abs(before[0][k])[~mask[k]] for k in "ab"])
    assert kept.mean() > gone.mean()
    for k in "ab":
        plain = mask[k] * (at[0][k] - RATE * (at[0][k] - GOAL[k]))
        np.testing.assert_allclose(after[0][k], plain, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(after[1].memory.value[k], at[1].memory.value[k])


def test_gradients_stay_finite_where_a_coefficient_is_zero():
    tx = pruning.halo(
        optax.sgd(0.1), sparsity=0.5, at=9, xi=1e-8, coefficients=optax.sgd(0.1)
    )
    state = tx.init(START)
    zero = jax.tree.map(jnp.zeros_like, state.memory.value)
    state = state._replace(memory=state.memory._replace(value=zero))
    updates, state = jax.jit(tx.update)(GOAL, state, START)
    for leaf in jax.tree.leaves((updates, state.memory)):
        assert jnp.isfinite(leaf).all()


def test_the_defaults_are_those_of_the_authors():
    options = pruning.options("halo")
    assert options["xi"].default == options["psi"].default == 1e-8
    state = pruning.halo(optax.sgd(0.1), sparsity=0.5, at=9).init(START)
    assert all((v == 1).all() for v in jax.tree.leaves(state.memory.value))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": 0}, "at must be a finite number >= 1, got 0"),
        ({"at": 9, "xi": -1}, "xi must be a finite number >= 0, got -1"),
        ({"at": 9, "psi": -1}, "psi must be a finite number >= 0, got -1"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.halo(optax.sgd(0.1), sparsity=0.5, **options)
