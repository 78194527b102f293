"""Straight-through methods against NumPy, written from their formulas."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning
from dst_jax.pruning import schedules, structures

RATE = 0.2
_rng = np.random.default_rng(0)
START = {"a": _rng.normal(size=(8, 3)), "b": _rng.normal(size=(2, 4, 5))}
GOAL = {"a": _rng.normal(size=(8, 3)), "b": _rng.normal(size=(2, 4, 5))}


def _train(tx, steps):
    """Least squares: the gradient is taken at the weights the network sees."""
    params = jax.tree.map(lambda w: jnp.asarray(w, jnp.float32), START)
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        seen = pruning.sparse_params(params, state)
        grads = jax.tree.map(lambda w, t: w - jnp.asarray(t, jnp.float32), seen, GOAL)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    found = [(params, pruning.get_mask(state))]
    for _ in range(steps):
        params, state = step(params, state)
        found.append((params, pruning.get_mask(state)))
    return found


def _reference(mask_of, steps, refinement=0.0, interval=1):
    """`w <- w - rate (mask w - goal + refinement (1 - mask) w)`."""
    w, mask = {k: v.copy() for k, v in START.items()}, mask_of(START, 0)
    found = [(w, mask)]
    for t in range(1, steps + 1):
        w = {
            k: w[k]
            - RATE * (mask[k] * w[k] - GOAL[k] + refinement * (1 - mask[k]) * w[k])
            for k in w
        }
        mask = mask_of(w, t) if t % interval == 0 else mask
        found.append((w, mask))
    return found


def _largest_of_all(kept):
    def mask_of(w, step):
        size = np.concatenate([np.abs(w[k]).ravel() for k in "ab"])
        chosen = np.zeros(size.size, bool)
        chosen[np.argsort(-size, kind="stable")[: kept(step)]] = True
        return {"a": chosen[:24].reshape(8, 3), "b": chosen[24:].reshape(2, 4, 5)}

    return mask_of


def _two_of_four(w, step):
    """Along the input axis, the last but one."""
    del step
    masks = {}
    for k, v in w.items():
        lines = np.moveaxis(np.abs(v), -2, -1)
        groups = lines.reshape(-1, 4)
        rank = np.argsort(np.argsort(-groups, axis=1, kind="stable"), axis=1)
        masks[k] = np.moveaxis((rank < 2).reshape(lines.shape), -1, -2)
    return masks


def _assert_same(found, expected):
    changed = 0
    for (w, mask), (exact, chosen) in zip(found, expected, strict=True):
        for k in "ab":
            np.testing.assert_allclose(w[k], exact[k], rtol=2e-5, atol=1e-6)
            np.testing.assert_array_equal(mask[k], chosen[k])
            changed += int((chosen[k] != expected[0][1][k]).sum())
    assert changed > 0  # or the masks would say nothing


@pytest.mark.slow
@pytest.mark.parametrize("interval", [1, 3])
def test_ste_equals_numpy(interval):
    tx = pruning.ste(optax.sgd(RATE), sparsity=0.75, interval=interval)
    expected = _reference(_largest_of_all(lambda t: 16), 8, interval=interval)
    _assert_same(_train(tx, 8), expected)


def test_ste_follows_a_schedule():
    target = schedules.linear(0.25, 0.75, end=4)
    tx = pruning.ste(optax.sgd(RATE), sparsity=target)
    expected = _reference(_largest_of_all(lambda t: [48, 40, 32, 24, 16][min(t, 4)]), 6)
    _assert_same(_train(tx, 6), expected)


@pytest.mark.parametrize("refinement", [0.0, 0.3])
def test_sr_ste_equals_numpy(refinement):
    tx = pruning.sr_ste(
        optax.sgd(RATE), structure=structures.n_m(2, 4), refinement=refinement
    )
    _assert_same(_train(tx, 8), _reference(_two_of_four, 8, refinement))


def test_refinement_settles_the_masks():
    """What the term is for: fewer weights change sides."""

    def flips(refinement):
        tx = pruning.sr_ste(
            optax.sgd(RATE), structure=None, sparsity=0.5, refinement=refinement
        )
        masks = [mask for _, mask in _train(tx, 30)]
        pairs = itertools.pairwise(masks)
        return sum(int((a[k] != b[k]).sum()) for a, b in pairs for k in "ab")

    assert flips(1.0) < flips(0.0)


def test_the_defaults_are_those_of_the_paper():
    assert pruning.options("sr_ste")["refinement"].default == 2e-4
    tx = pruning.sr_ste(optax.sgd(RATE), structure=structures.n_m(1, 4))
    mask = pruning.get_mask(tx.init(START))
    assert (np.asarray(mask["b"]).sum(-2) == 1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": None}, "sparsity must be .* unless structure is n_m, got None"),
        ({"structure": structures.block((2,))}, "unless structure is n_m, got None"),
        (
            {"structure": structures.n_m(2, 4), "sparsity": 0.9},
            "sparsity must be 0.5, that of 2:4, got 0.9",
        ),
        (
            {"structure": structures.n_m(2, 4), "refinement": -1.0},
            "refinement must be a finite number >= 0, got -1.0",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.sr_ste(optax.sgd(0.1), **options)
