"""AutoSparse against the derivatives of its formula, by autodiff."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning
from dst_jax.pruning.methods.auto_sparse import gradient_annealing

END, ALPHA, RATE, OWN_RATE = 4, 0.5, 0.1, 0.3
START = {
    "a": jax.random.normal(jax.random.key(0), (6, 5)),
    "b": jax.random.normal(jax.random.key(1), (4, 3)),
}
GOAL = jax.tree.map(lambda w: jnp.round(2 * jnp.sin(9 * w)), START)
# The published alpha_t / alpha_0 at t / T = 0, 0.25, 0.5, 0.75, 1.
ANNEALED = [1.0, 0.9526, 0.5, 0.1464, 0.0025]


@jax.custom_vjp
def _relu(x, alpha):
    return jnp.maximum(x, 0)


_relu.defvjp(
    lambda x, alpha: (_relu(x, alpha), (x, alpha)),
    lambda kept, g: (jnp.where(kept[0] > 0, 1, kept[1]) * g, jnp.zeros(())),
)


def _network(w, s, alpha):
    return jnp.sign(w) * _relu(jnp.abs(w) - jax.nn.sigmoid(s), alpha)


def _loss(learned, alpha):
    w, s = learned
    seen = jax.tree.map(lambda w, s: _network(w, s, alpha), w, s)
    errors = jax.tree.map(lambda v, t: jnp.sum((v - t) ** 2) / 2, seen, GOAL)
    return sum(jax.tree.leaves(errors))


@functools.cache
def _train(steps=7):
    tx = pruning.auto_sparse(
        optax.sgd(RATE), end=END, alpha=ALPHA, initial=-0.5,
        thresholds=optax.sgd(OWN_RATE))  # fmt: skip
    params, state = START, tx.init(START)
    found = [(params, state)]

    @jax.jit
    def step(params, state):
        seen = pruning.sparse_params(params, state)
        grads = jax.tree.map(jnp.subtract, seen, GOAL)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
        found.append((params, state))
    return found


def _thresholds(state):
    return state.memory.learned.value


@pytest.mark.slow
def test_weights_and_thresholds_follow_their_derivatives():
    w, s = START, jax.tree.map(lambda _: jnp.float32(-0.5), START)
    for t in range(1, END + 1):
        of_w, of_s = jax.grad(_loss)((w, s), ALPHA * ANNEALED[t])
        w = jax.tree.map(lambda w, g: w - RATE * g, w, of_w)
        s = jax.tree.map(lambda s, g: s - OWN_RATE * g, s, of_s)
        params, state = _train()[t]
        seen = pruning.sparse_params(params, state)
        mask = pruning.get_mask(state)
        for k in "ab":
            np.testing.assert_allclose(params[k], w[k], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(_thresholds(state)[k], s[k], rtol=1e-4)
            expected = _network(w[k], s[k], 1.0)
            np.testing.assert_allclose(seen[k], expected, rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(mask[k], expected != 0)
            assert 0 < mask[k].sum() < mask[k].size
    assert _thresholds(state)["a"] != _thresholds(state)["b"]


def test_after_the_end_pruned_weights_learn_nothing_and_masks_stay():
    (before, first), (after, last) = _train()[END], _train()[END + 3]
    mask = pruning.get_mask(first)
    for k in "ab":
        np.testing.assert_array_equal(pruning.get_mask(last)[k], mask[k])
        moved = np.asarray(before[k] != after[k])
        assert not moved[~mask[k]].any()
        assert moved[mask[k]].any()
        assert _thresholds(first)[k] == _thresholds(last)[k]


def test_pruned_weights_come_back():
    masks = [pruning.get_mask(state) for _, state in _train()]
    back = [(~a[k] & b[k]).any() for a, b in itertools.pairwise(masks)
            for k in "ab"]  # fmt: skip
    assert any(back)


def test_annealing_at_the_published_points():
    schedule = gradient_annealing(0.75, end=400)
    found = [float(schedule(t)) for t in (0, 100, 200, 300, 400)]
    np.testing.assert_allclose(found, 0.75 * np.array(ANNEALED), atol=5e-5)


def test_the_threshold_starts_at_sigmoid_of_minus_five():
    params = {"w": jnp.array([[0.0066, 0.0068, -0.0066, -0.0068]])}
    mask = pruning.get_mask(pruning.auto_sparse(optax.sgd(0.1), end=9).init(params))
    assert mask["w"].tolist() == [[False, True, False, True]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": 0}, "end must be a finite number >= 1, got 0"),
        ({"end": 9, "alpha": 1.5}, r"alpha must be in \[0, 1\], got 1.5"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.auto_sparse(optax.sgd(0.1), **options)
