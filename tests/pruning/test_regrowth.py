"""Densities that a genetic search moves."""

import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import pruning
from dst_jax.pruning import KeptWeights, genetic_search, masks, regrown

SIZES = {"a": 40, "b": 1000, "c": 3000, "d": 160}


def _softmax(v):
    e = np.exp(v - v.max())
    return e / e.sum()


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.9, 0.97, 0.99])
def test_the_formula_and_an_exact_sum(sparsity):
    n = np.array(list(SIZES.values()))
    for seed in range(4):
        v = np.random.default_rng(seed).normal(size=4)
        reserve = min(0.05, 1 - sparsity)
        kept = np.array(list(regrown(SIZES, v, sparsity=sparsity).kept.values()))
        assert kept.sum() == round((1 - sparsity) * n.sum())
        pruned = sparsity + reserve - reserve * n.sum() * _softmax(v) / n
        full = pruned < 0
        assert (kept[full] == n[full]).all()
        if not full.any():
            assert (abs(kept - (1 - pruned) * n) < 1).all()


def test_what_a_full_layer_cannot_take_goes_to_the_others():
    kept = regrown(SIZES, [50.0, 0.0, 0.0, 0.0], sparsity=0.5).kept
    assert kept["a"] == 40
    # 45 % of the others, and alike to each what is left of the 5 % of all.
    left = (0.5 * 4200 - 40 - 0.45 * 4160) / 3
    assert kept["b"] == pytest.approx(450 + left, abs=1)
    assert kept["c"] == pytest.approx(1350 + left, abs=1)


def test_counts_are_a_distribution_and_a_mask():
    rng = np.random.default_rng(0)
    params = {
        "fc1": {"kernel": jnp.asarray(rng.normal(size=(8, 6)), jnp.float32)},
        "fc2": {"kernel": jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)},
    }
    counts = KeptWeights({"fc1/kernel": 13, "fc2/kernel": 20})
    mask = counts.mask(params)
    assert [int(mask[k]["kernel"].sum()) for k in params] == [13, 20]
    same = pruning.updates.keep(params, 0.5, counts)
    largest = masks.magnitude(params["fc1"], 1 - 13 / 48)["kernel"]
    np.testing.assert_array_equal(mask["fc1"]["kernel"], largest)
    assert [int(same[k]["kernel"].sum()) for k in params] == [13, 20]
    with pytest.raises(ValueError, match=r"every layer and no other: \['fc2/kernel'\]"):
        pruning.updates.keep({"fc1": params["fc1"]}, 0.5, counts)


def test_a_search_climbs_and_never_falls_below_equal_numbers():
    aim = np.array([0.9, 0.1, 0.5])
    seen = []

    def fitness(v):
        seen.append(tuple(v))
        return -float(np.square(v - aim).sum())

    found = genetic_search(fitness, 3, population=10, generations=12, parents=4, seed=1)
    assert list(found.history) == sorted(found.history)
    assert found.fitness == found.history[-1] == fitness(found.best)
    assert found.uniform == -float(np.square(aim).sum())
    assert found.fitness > 0.02 * found.uniform
    assert len(set(seen[:-1])) == len(seen[:-1])  # none is measured twice
    again = genetic_search(fitness, 3, population=10, generations=12, parents=4, seed=1)
    np.testing.assert_array_equal(again.best, found.best)
    worst = genetic_search(lambda v: -float(abs(v).sum()), 3, generations=2)
    assert worst.best.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"population": 1}, "population must be a finite number >= 2, got 1"),
        ({"generations": 0}, "generations must be a finite number >= 1, got 0"),
        ({"parents": 26}, "parents must be at most 25, got 26"),
        ({"mutation": 1.5}, "mutation must be in"),
    ],
)
def test_refused(options, said):
    with pytest.raises(ValueError, match=said):
        genetic_search(lambda v: 0.0, 2, **options)
    with pytest.raises(ValueError, match="one for each layer"):
        regrown(SIZES, [0.0], sparsity=0.5)
    with pytest.raises(ValueError, match="got NaN"):
        genetic_search(lambda v: float("nan"), 2)
