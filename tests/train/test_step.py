from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import data, models, penalties, pruning
from dst_jax.activations import Tap
from dst_jax.train import Objective, Term, chain, make_eval_step, make_train_step
from dst_jax.train.state import enter, init_network
from dst_jax.train.tasks import classification

PREPROCESS = partial(data.normalise, mean=(0.5,), std=(0.5,))


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return {
        "image": jnp.asarray(rng.integers(0, 256, (8, 16, 16, 1), np.uint8)),
        "label": jnp.asarray(rng.integers(0, 10, 8, np.int32)),
    }


def _model(**options):
    """Two narrow blocks: one keeps the shape of its input, one does not."""
    whole = models.create(
        "resnet18", num_classes=10, width=0.0625, stem="cifar", **options
    )
    return whole.clone(blocks=(1, 1))


@pytest.fixture(scope="module")
def model():
    return _model()


@pytest.fixture(scope="module")
def initial(model):
    weights = init_network(model, jnp.zeros((1, 16, 16, 1)), jax.random.key(0))
    return jax.device_get(weights)


@pytest.fixture
def weights(initial):
    return jax.tree.map(jnp.array, initial)  # steps take them away


def _objective(strength=1e-3, a=1.0, layer=1.0, smoothing=0.0, weight=1e-3):
    return Objective(
        terms=(
            Term(penalties.transformed_l1, strength, {"a": a}, ("relu1",), (layer,)),
            Term(penalties.l1, weight, over="weights"),
        ),
        task=classification(label_smoothing=smoothing),
    )


@pytest.mark.slow
def test_hyper_parameters_do_not_recompile(model, weights, batch):
    optimizer = chain(0.1)
    step = make_train_step(model, optimizer, preprocess=PREPROCESS)
    losses = []
    for strength, a, layer, smoothing, weight in [
        (1e-3, 1.0, 1.0, 0.0, 1e-3),
        (1e-2, 0.1, 0.5, 0.1, 0.0),
        (0.0, 10.0, 0.0, 0.0, 1e-2),
    ]:
        state = enter(weights, optimizer, jax.random.key(1))
        state = jax.tree.map(jnp.copy, state)
        objective = _objective(strength, a, layer, smoothing, weight)
        losses.append(float(step(state, batch, objective)[1]["loss"]))
    assert step._cache_size() == 1
    assert len(set(losses)) == 3


def test_the_loss_is_the_sum_of_its_parts(model, weights, batch):
    optimizer = chain(0.1)
    step = make_train_step(model, optimizer, preprocess=PREPROCESS)
    state = enter(weights, optimizer, jax.random.key(1))
    params = jax.tree.map(jnp.copy, weights.params)
    _, metrics = step(state, batch, _objective(weight=0.5))
    parts = ("cross_entropy", "activation_penalty", "weight_penalty")
    np.testing.assert_allclose(
        metrics["loss"], sum(metrics[k] for k in parts), rtol=1e-6
    )
    kernels = pruning.masks.prunable(params)
    l1 = sum(float(jnp.abs(w).sum()) for w in jax.tree.leaves(kernels))
    np.testing.assert_allclose(metrics["weight_penalty"], 0.5 * l1, rtol=1e-5)


def test_without_an_activation_term_nothing_is_collected(model, weights, batch):
    optimizer = chain(0.1)
    step = make_train_step(model, optimizer, preprocess=PREPROCESS)
    _, metrics = step(enter(weights, optimizer, jax.random.key(1)), batch, Objective())
    assert set(metrics) == {"loss", "cross_entropy", "accuracy"}


@pytest.mark.slow
def test_masked_weights_stay_zero_with_accumulation(model, weights, batch):
    mask = pruning.masks.magnitude(weights.params, 0.8)
    optimizer = chain(0.1, mask=mask, weight_decay=1e-2, clip=1.0, accumulate=2)
    step = make_train_step(model, optimizer, preprocess=PREPROCESS)
    state = enter(weights._replace(mask=mask), optimizer, jax.random.key(1))
    for _ in range(3):
        state, _ = step(state, batch, _objective())
        held = pruning.masks.apply(mask, state.params)
        same = jax.tree.map(lambda a, b: (a == b).all(), held, state.params)
        assert jax.tree.all(same)
    assert int(state.step) == 3


@pytest.mark.slow
def test_bfloat16_computes_and_float32_keeps(weights, batch):
    model = _model(dtype="bfloat16")
    preprocess = partial(PREPROCESS, dtype=jnp.bfloat16)
    optimizer = chain(0.1)
    step = make_train_step(model, optimizer, preprocess=preprocess)
    state, metrics = step(
        enter(weights, optimizer, jax.random.key(1)), batch, _objective()
    )
    assert np.isfinite(metrics["loss"])
    assert {w.dtype for w in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}


def test_label_smoothing_equals_optax(batch):
    logits = jax.random.normal(jax.random.key(0), (8, 10))
    smooth = optax.smooth_labels(jax.nn.one_hot(batch["label"], 10), 0.1)
    expected = optax.softmax_cross_entropy(logits, smooth).mean()
    objective = Objective(task=classification(label_smoothing=0.1))
    loss, _ = objective(logits, batch["label"], maps={}, weights={})
    np.testing.assert_allclose(loss, expected, rtol=1e-6)


class _Given(nn.Module):
    """A model whose logits are its input."""

    def __call__(self, x, *, train):
        return x


def test_top1_and_top5_break_ties_as_argmax_does():
    logits = jnp.array(
        [
            [1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
            [1.0, 1.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
            [jnp.nan] * 6,
        ]
    )
    labels = jnp.array([0, 1, 0, 2])
    step = make_eval_step(_Given(), preprocess=lambda x: x, count=False)
    sums = step({}, {}, {"image": logits, "label": labels})
    assert int(sums["top1"]) == 1
    assert int(sums["top5"]) == 2
    assert int(sums["examples"]) == 4


class _Tapped(nn.Module):
    """A model whose map is its input."""

    @nn.compact
    def __call__(self, x, *, train):
        return Tap(name="relu")(x).mean((1, 2))


def test_zeros_of_neighbours_are_counted():
    image = np.random.default_rng(0).integers(0, 2, (4, 5, 6, 7)).astype(np.float32)
    batch = {"image": jnp.array(image), "label": jnp.zeros(4, jnp.int32)}
    given = {"preprocess": lambda x: x, "count": False}
    sums = make_eval_step(_Tapped(), union_tile=2, **given)({}, {}, batch)
    padded = np.pad(image, [(0, 0), (0, 1), (0, 0), (0, 0)])
    tiles = padded.reshape(4, 3, 2, 3, 2, 7)
    expected = (tiles == 0).all((2, 4)).sum((1, 2, 3))
    assert sums["zero_tiles"]["relu"].tolist() == expected.tolist()
    assert (int(sums["tiles"]["relu"]), int(sums["union_tile"])) == (3 * 3 * 7, 2)
    assert "tiles" not in make_eval_step(_Tapped(), **given)({}, {}, batch)
