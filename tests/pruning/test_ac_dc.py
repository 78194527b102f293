"""AC/DC: the authors' schedule, and how weights come back."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import pruning


def _run(tx, steps):
    params = {"w": jnp.linspace(-1.0, 1.0, 40).reshape(5, 8)}
    state = tx.init(params)
    step = jax.jit(tx.update)
    found = [(params, state)]
    for i in range(steps):
        rng = np.random.default_rng(i)
        grads = {"w": rng.normal(size=(5, 8)).astype("f")}
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
        found.append((params, state))
    return found


def test_compressed_and_decompressed_epochs_of_the_authors():
    """ImageNet in 100 epochs: pruned at 10, 20, ..., 70 and 85, restored at 15, ...,
    65 and 75."""
    prunes = {*range(10, 71, 10), 85}
    restores = {*range(15, 66, 10), 75}
    expected, compressed = [], False
    for t in range(101):
        compressed = t in prunes or (compressed and t not in restores)
        expected.append(4 if compressed else 40)
    tx = pruning.ac_dc(
        optax.sgd(0.1), sparsity=0.9, warmup=10, interval=5, release=75, end=85
    )
    active = [int(pruning.get_mask(s)["w"].sum()) for _, s in _run(tx, 100)]
    assert active == expected


def test_turns_go_on_to_the_end_without_a_release():
    tx = pruning.ac_dc(optax.sgd(0.1), sparsity=0.9, warmup=1, interval=2, end=6)
    active = [int(pruning.get_mask(s)["w"].sum()) for _, s in _run(tx, 8)]
    assert active == [40, 4, 4, 40, 40, 4, 4, 4, 4]


def test_a_release_ends_a_compressed_phase():
    tx = pruning.ac_dc(
        optax.sgd(0.1), sparsity=0.9, warmup=1, interval=4, release=3, end=11
    )
    active = [int(pruning.get_mask(s)["w"].sum()) for _, s in _run(tx, 12)]
    assert active == [40, 4, 4, 40, 40, 40, 40, 40, 40, 40, 40, 4, 4]


def test_the_largest_are_kept_and_the_others_come_back_from_zero():
    tx = pruning.ac_dc(
        optax.sgd(0.1, momentum=0.9), sparsity=0.9, warmup=1, interval=2, end=20
    )
    found = _run(tx, 4)
    mask = np.asarray(pruning.get_mask(found[1][1])["w"])
    moved = found[0][0]["w"] - 0.1 * np.random.default_rng(0).normal(size=(5, 8))
    fourth = np.sort(np.abs(moved), axis=None)[-4]
    np.testing.assert_array_equal(mask, np.abs(moved) >= fourth)
    back, state = found[3]  # decompressed after this step
    assert pruning.get_mask(state)["w"].all()
    assert (back["w"][~mask] == 0).all()
    momentum = optax.tree_utils.tree_get(state.inner, "trace")["w"]
    assert (momentum[~mask] == 0).all()
    assert (momentum[mask] != 0).all()
    assert (found[4][0]["w"] != 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": 0, "end": 9}, "warmup must be a finite number >= 1, got 0"),
        ({"warmup": 5, "end": 4}, "end must be a finite number >= 5, got 4"),
        (
            {"warmup": 5, "end": 9, "release": 3},
            "release must be a finite number >= 5, got 3",
        ),
        (
            {"warmup": 5, "end": 9, "release": 10},
            "end must be a finite number >= 10, got 9",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.ac_dc(optax.sgd(0.1), sparsity=0.5, interval=2, **options)
