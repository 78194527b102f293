"""EAST's cycles of density against NumPy, their budgets, and layers that stay alive."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import models, pruning, trees
from dst_jax.pruning import distributions, schedules
from dst_jax.pruning.methods.east import layer_counts

# These programs are small: they take longer to compile well than to run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
SHAPES = {"a/kernel": (3, 3, 4, 6), "b/kernel": (24, 10), "c/kernel": (5, 40)}
OPTIONS = {"sparsity": 0.9, "interval": 2, "end": 14, "period": 5}


def _params():
    rng = np.random.default_rng(0)
    named = {k: rng.normal(size=s).astype("f") for k, s in SHAPES.items()}
    return {k.split("/")[0]: {"kernel": w} for k, w in named.items()}


def _gradients(steps):
    rng = np.random.default_rng(1)
    return [
        jax.tree.map(lambda w: rng.normal(size=w.shape).astype("f"), _params())
        for _ in range(steps)
    ]


def _trajectory(tx, steps):
    """Masks and weights before and after every step."""
    params = _params()
    state = tx.init(params)
    params = pruning.sparse_params(params, state)
    found = [(pruning.get_mask(state), params)]
    step = jit(tx.update)
    for grads in _gradients(steps):
        updates, state = step(grads, state, params)
        params = optax.apply_updates(params, updates)
        found.append((pruning.get_mask(state), params))
    return [jax.tree.map(np.asarray, pair) for pair in found]


def _counts(mask):
    return {k: int(m.sum()) for k, m in trees.named_leaves(mask).items()}


def _largest(scores, allowed, number):
    """A mask of the largest scores among what is allowed; the first of equal ones."""
    order = np.argsort(np.where(allowed, -scores, np.inf).ravel(), kind="stable")
    mask = np.zeros(scores.size, bool)
    mask[order[:number]] = True
    return mask.reshape(scores.shape)


def _reference(masks, weights, *, rate, updates, kept_at, fraction, last):
    """EAST's masks by NumPy, for SGD without momentum."""
    for t, grads in enumerate(_gradients(max(updates)), start=1):
        weights = {
            k: np.where(masks[k], w - np.float32(rate) * grads[k[0]]["kernel"], 0)
            for k, w in weights.items()
        }
        if t not in updates:
            yield dict(masks)
            continue
        for k, wanted in kept_at(t).items():
            kept = min(wanted, int(masks[k].sum()))
            if t > last:
                kept -= math.ceil(fraction(t) * kept - 1e-6)
            steep = np.abs(grads[k[0]]["kernel"])
            own = _largest(np.abs(weights[k]), masks[k], kept)
            masks[k] = own | _largest(steep, ~own, wanted - kept)
            weights[k] = np.where(masks[k], weights[k], 0)
        yield dict(masks)


@pytest.mark.slow
def test_masks_equal_a_reference():
    # the cycles end at 5 and 10; updates come every second step, and not at the end
    found = _trajectory(pruning.east(optax.sgd(0.1), **OPTIONS), 13)
    target = schedules.cyclic(0.9, period=5)
    fraction = schedules.decay("cosine", 0.5, 0.005, end=14)
    expected = _reference(
        {k: m.copy() for k, m in trees.named_leaves(found[0][0]).items()},
        trees.named_leaves(found[0][1]),
        rate=0.1,
        updates=[2, 4, 6, 8, 10, 12],
        kept_at=lambda t: distributions.erk(SHAPES, float(target(t))),
        fraction=lambda t: float(fraction(t)),
        last=10,
    )
    for (mask, _), wanted in zip(found[1:], expected, strict=False):
        for name, leaf in trees.named_leaves(mask).items():
            np.testing.assert_array_equal(leaf, wanted[name])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "updates", "last"),
    [
        ({"wave": "triangular", "growth": 2.0, "period": 3}, [2, 4, 6, 8, 9], 9),
        ({"relaxation": 2.0, "cycle_interval": 1, "cycles": 1}, [1, 2, 3, 4, 5], 5),
    ],
)
def test_every_update_meets_the_density_of_its_step(options, updates, last):
    found = _trajectory(pruning.east(optax.sgd(0.1), **OPTIONS | options), 13)
    own = {k: options[k] for k in ("wave", "growth", "relaxation") if k in options}
    cycles, period = options.get("cycles", 2), options.get("period", 5)
    target = schedules.cyclic(0.9, period=period, cycles=cycles, **own)
    sizes = sum(math.prod(s) for s in SHAPES.values())
    budget = round(0.1 * sizes)
    kept = [budget]
    for t in range(1, 14):
        kept.append((1 - float(target(t))) * sizes if t in updates else kept[-1])
    totals = [sum(_counts(mask).values()) for mask, _ in found]
    assert totals == pytest.approx(kept, abs=0.51)
    assert totals[last:] == [budget] * len(totals[last:])
    assert max(totals) > 1.5 * budget
    # afterwards every layer explores at its own number
    after = [mask for mask, _ in found[last:]]
    assert all(_counts(mask) == _counts(after[0]) for mask in after)
    changed = [not np.array_equal(a["b"]["kernel"], b["b"]["kernel"])
               for a, b in itertools.pairwise(after)]  # fmt: skip
    assert any(changed)


@pytest.mark.slow
def test_without_cycles_it_is_rigl_itop():
    options = {"sparsity": 0.8, "interval": 3, "end": 10}
    east = pruning.east(optax.adam(0.1), period=1, cycles=0, **options)
    base = pruning.rigl_itop(optax.adam(0.1), **options)
    for one, other in zip(_trajectory(east, 9), _trajectory(base, 9), strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "width", "layer_floor"),
    [
        ("resnet34", 0.25, 0.0),
        ("resnet34", 1.0, 7e-5),
        ("resnet50", 1.0, 0.0),
    ],
)
def test_no_layer_is_empty_at_9999(name, width, layer_floor):
    model = models.create(name, num_classes=100, stem="cifar", width=width)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    prunable = pruning.masks.prunable(params)
    sizes = {k: w.size for k, w in trees.named_leaves(prunable).items()}
    total = sum(sizes.values())
    for sparsity in (0.9999, jnp.float32(0.9999)):  # the second as schedules have it
        counts = layer_counts(prunable, sparsity, layer_floor=layer_floor)
        assert sum(map(int, counts.values())) == pytest.approx(1e-4 * total, abs=1)
        assert all(n >= max(1, layer_floor * sizes[k]) for k, n in counts.items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": 9}, "end must be at least 10, where the last of 2 cycles ends, got 9"),
        ({"sparsity": 1.0}, r"sparsity must be in \[0, 1\)"),
        ({"layer_floor": -0.1}, "layer_floor must be in"),
        ({"relaxation": 0.9}, "relaxation must be"),
        ({"cycle_interval": 0}, "cycle_interval must be"),
        ({"cycles": -1}, "cycles must be a finite number >= 1"),
        ({"growth": -1.0}, "growth must be > 0"),
        ({"wave": "sine"}, "wave must be one of"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        pruning.east(optax.sgd(0.1), **OPTIONS | options)


def test_gradients_of_all_weights_are_needed_as_often_as_masks_change():
    every = pruning.describe("east").dense_gradient_every
    own = OPTIONS | {"period": 3, "growth": 2.0}
    assert [every(step, **own) for step in (3, 9, 14, 15)] == [2, 2, 2, None]
    found = [every(step, **own, cycle_interval=1) for step in (3, 9, 10, 15)]
    assert found == [1, 1, 2, None]
