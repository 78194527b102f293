"""Constrained l0: gates, their derivatives by autodiff, the multiplier by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning
from dst_jax.pruning import scores, structures
from dst_jax.pruning.hard_concrete import active_probability
from dst_jax.pruning.methods.constrained_l0 import _ascended

RATE, GATES, DUAL, SPARSITY = 0.1, 2.0, 0.3, 0.6
START = {
    "a": jax.random.normal(jax.random.key(0), (6, 4)),
    "b": jax.random.normal(jax.random.key(1), (4, 3)),
}
GOAL = jax.tree.map(lambda w: jnp.sin(9 * w), START)
UNITS = {None: lambda w: w.shape, "channel": lambda w: (1, w.shape[-1])}


def _gate(phi, u):
    """The published formula."""
    soft = jax.nn.sigmoid((jnp.log(u) - jnp.log(1 - u) + phi) / (2 / 3))
    return jnp.clip(soft * (1.1 + 0.1) - 0.1, 0, 1)


def _density(phi, scope):
    active = {
        k: jnp.broadcast_to(
            jax.nn.sigmoid(phi[k] - 2 / 3 * jnp.log(0.1 / 1.1)), w.shape
        )
        for k, w in START.items()
    }
    if scope == "layer":
        return {k: p.mean() for k, p in active.items()}
    total = jnp.concatenate([p.ravel() for p in active.values()]).mean()
    return dict.fromkeys("ab", total)


def _lagrangian(w, phi, noise, multiplier, scope):
    seen = {k: w[k] * _gate(phi[k], noise[k]) for k in w}
    loss = sum(jnp.sum((seen[k] - GOAL[k]) ** 2) / 2 for k in w)
    if scope == "layer":
        return loss + sum(multiplier[k] * _density(phi, scope)[k] for k in w)
    return loss + multiplier["a"] * _density(phi, scope)["a"]


def _tx(structure, scope, end, **options):
    return pruning.constrained_l0(
        optax.sgd(RATE), sparsity=SPARSITY, end=end, scope=scope,
        structure=structures.channel() if structure else None,
        gates=optax.sgd(GATES), dual_rate=DUAL, **options)  # fmt: skip


def _stepper(tx):
    @functools.partial(jax.jit, donate_argnums=1)
    def step(params, state):
        seen = pruning.sparse_params(params, state)
        grads = jax.tree.map(jnp.subtract, seen, GOAL)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    return step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("structure", "scope", "rescaled"),
    [(None, "layer", True), (None, "global", False), ("channel", "layer", False),
     ("channel", "global", True)],
)  # fmt: skip
def test_weights_gates_and_multipliers_follow_the_lagrangian(
    structure, scope, rescaled
):
    tx = _tx(structure, scope, end=4, rescaled=rescaled)
    step, params, state = _stepper(tx), START, tx.init(START)
    start = jnp.log(0.7 / 0.3)
    shrunk = 0.7 if rescaled else 1.0  # the authors divide the first weights by it
    w = {k: v / shrunk for k, v in START.items()}
    phi = {k: jnp.full(UNITS[structure](v), start) for k, v in w.items()}
    noise = {k: jnp.full(v.shape, 0.5) for k, v in phi.items()}
    multiplier, rose = dict.fromkeys("ab", jnp.zeros(())), False
    slopes = jax.jit(jax.grad(_lagrangian, (0, 1)), static_argnums=4)
    for t in range(1, 5):
        of_w, of_phi = slopes(w, phi, noise, multiplier, scope)
        excess = {k: d - (1 - SPARSITY) for k, d in _density(phi, scope).items()}
        w = {k: w[k] - RATE * of_w[k] for k in w}
        phi = {k: jnp.clip(phi[k] - GATES * of_phi[k], np.log(0.01), np.log(100))
               for k in w}  # fmt: skip
        multiplier = {
            k: jnp.where(excess[k] <= 0, 0, multiplier[k] + DUAL * excess[k]) for k in w
        }
        noise = scores.random(phi, key=jax.random.fold_in(state.key, t))
        if t == 4:  # the last step: medians from here on
            noise = jax.tree.map(lambda u: jnp.full(u.shape, 0.5), noise)
        params, state = step(params, state)
        seen = pruning.sparse_params(params, state)
        for k in "ab":
            gates = state.memory
            np.testing.assert_allclose(params[k] / shrunk, w[k], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(
                gates.log_alpha.value[k], phi[k], rtol=1e-4, atol=1e-5
            )
            np.testing.assert_allclose(gates.multiplier[k], multiplier[k], rtol=1e-4)
            z = np.broadcast_to(_gate(phi[k], noise[k]), w[k].shape)
            np.testing.assert_allclose(seen[k], w[k] * z, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(pruning.get_mask(state)[k], z > 0)
        rose |= bool(multiplier["a"] > 0)
    assert rose
    assert not np.allclose(phi["a"], start)


def test_the_first_weights_are_divided_by_one_minus_the_dropout_rate():
    """By default, as in the authors' code; the first gates are at their medians."""
    first = _gate(jnp.log(0.6 / 0.4), 0.5)
    for options, scale in (({}, 1 / 0.6), ({"rescaled": False}, 1.0)):
        tx = _tx(None, "layer", end=2, dropped=0.4, **options)
        seen = pruning.sparse_params(START, tx.init(START))
        for k, w in START.items():
            np.testing.assert_allclose(seen[k], scale * w * first, rtol=1e-5)


def test_after_the_end_gates_stay_and_weights_learn():
    tx = _tx(None, "layer", end=2)
    step, params, state = _stepper(tx), START, tx.init(START)
    for _ in range(2):
        params, state = step(params, state)
    frozen, before = jax.tree.map(np.array, state.memory), params
    for _ in range(2):
        params, state = step(params, state)
    for old, new in zip(*map(jax.tree.leaves, (frozen, state.memory)), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (params["a"] != before["a"]).any()


def test_dual_restarts_by_hand():
    """The multiplier grows with the violation, and is 0 as soon as there is none."""
    plain = restarted = jnp.float32(0)
    found = []
    for violation in (0.5, 0.25, -0.25, 0.5):
        excess = jnp.float32(violation)
        plain = _ascended(plain, excess, 2.0, False)
        restarted = _ascended(restarted, excess, 2.0, True)
        found.append((float(plain), float(restarted)))
    assert found == [(1.0, 1.0), (1.5, 1.5), (1.0, 0.0), (2.0, 1.0)]
    assert float(_ascended(jnp.float32(0.1), jnp.float32(-9.0), 2.0, False)) == 0


def test_the_defaults_are_those_of_the_paper_for_cifar():
    options = pruning.options("constrained_l0")
    assert options["dual_rate"].default == 7e-4
    assert options["dropped"].default == 0.3
    one, gates = jnp.float32(1), options["gates"].default
    assert float(gates.update(one, gates.init(one))[0]) == -6


@pytest.mark.parametrize("phi", [-2.0, 0.0, 1.5])
def test_gates_are_active_as_often_as_the_formula_says(phi):
    u = jax.random.uniform(jax.random.key(0), (40_000,))
    share = float((_gate(phi, u) > 0).mean())
    assert abs(share - float(active_probability(jnp.float32(phi)))) < 0.01


def test_the_constraint_is_met_in_training():
    """A quarter of the weights is needed, 30 % may be kept."""
    needed = jnp.arange(400).reshape(20, 20) % 4 == 0
    goal = jnp.where(needed, 1.0, 0.0)
    tx = pruning.constrained_l0(
        optax.sgd(0.05), sparsity=0.7, end=1500, gates=optax.sgd(5.0), dual_rate=2.0
    )
    start = {"w": 0.1 * jax.random.normal(jax.random.key(0), (20, 20)) + goal}

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            seen = pruning.sparse_params(params, state)
            updates, state = tx.update({"w": seen["w"] - goal}, state, params)
            params = optax.apply_updates(params, updates)
            return (params, state), active_probability(
                state.memory.log_alpha.value["w"]
            ).mean()

        return jax.lax.scan(step, (params, tx.init(params)), length=1500)

    (_, state), expected = train(start)
    assert float(expected[0]) > 0.8
    assert abs(float(expected[-300:].mean()) - 0.3) < 0.02
    mask = pruning.get_mask(state)["w"]
    assert mask[needed].mean() > 0.9
    assert mask[~needed].mean() < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 0.96}, "sparsity must be at most 0.953, .* got 0.96"),
        ({"end": 0}, "end must be a finite number >= 1, got 0"),
        ({"dropped": 1.0}, r"dropped must be in \(0, 1\), got 1.0"),
        ({"dual_rate": -1}, "dual_rate must be a finite number >= 0, got -1"),
        ({"structure": structures.n_m(2, 4)}, "structure must rank units .* got 2:4"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.constrained_l0(optax.sgd(0.1), **{"sparsity": 0.5, "end": 9, **options})
