"""Stages whose optimizer is a method of sparse training."""

import itertools
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import models, penalties, pruning, train
from dst_jax.train import Objective, Stage, Target, Term, chain, stages
from dst_jax.train.callbacks import Callbacks
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.state import enter, init_network, network_of
from dst_jax.trees import named_leaves
from dst_jax.typing import Network

KERNELS = 784 * 16 + 16 * 10


@pruning.method
def straight_through(*, sparsity):
    """Dense weights are trained, the largest are computed with."""

    def first(params, key):
        return pruning.masks.magnitude(params, sparsity)

    def refresh(step):
        return first(step.params, step.key), step.memory

    return pruning.Method(
        first,
        refresh,
        pruning.schedules.every(1),
        gradients=lambda step: step.grads,
        holds=False,
    )


def _stage(factory, *, accumulate=1, **options):
    def optimizer(*, steps, steps_per_epoch, mask, seed):
        del steps, steps_per_epoch

        def sparsify(inner, mask):
            return factory(inner, mask=mask, seed=seed, **options)

        return chain(0.05, mask=mask, accumulate=accumulate, sparsify=sparsify)

    return stages.sparse_training(
        method=factory.__name__,
        epochs=2,
        optimizer=optimizer,
        start="pretrain",
    )


RIGL = _stage(
    pruning.rigl, sparsity=0.8, end=6, interval=2, track=True, packed=True,
    accumulate=2,
)  # fmt: skip
DENSE = _stage(straight_through, sparsity=0.8)


def _pipeline(stage, optimizer):
    after = stages.sparsify_activations(
        epochs=1,
        optimizer=optimizer,
        penalty=Term(penalties.l1, 1e-4),
        start=stage.name,
    )
    return [stages.pretrain(epochs=1, optimizer=optimizer), stage, *after]


@pytest.fixture(scope="module")
def setup_for(make_setup):
    model = models.create("mlp", num_classes=10, hidden=(16,))
    return partial(make_setup, model=model)


@pytest.fixture(scope="module", params=[RIGL, DENSE], ids=["rigl", "dense"])
def finished(request, setup_for, optimizer, tmp_path_factory):
    context = setup_for(tmp_path_factory.mktemp("finished"))
    summary = train.train(context, _pipeline(request.param, optimizer), config={})
    return context, request.param, summary


def test_the_stage_hands_on_sparse_weights_and_their_mask(finished):
    context, stage, summary = finished
    kept = KERNELS - round(0.8 * KERNELS)
    names = [row["name"] for row in summary["stages"]]
    assert names == ["pretrain", "sparsify_weights", "sparsify_activations"]
    assert summary["stages"][1]["weight_sparsity"] == 1 - kept / KERNELS
    assert summary["stages"][2]["weight_sparsity"] >= 1 - kept / KERNELS
    masks = []
    for path in (stage.path, "sparsify_activations"):
        weights = train.load_weights(
            context.run.checkpoints / path, sharding=context.sharding
        )
        masks.append(named_leaves(weights.mask))
        for name, mask in masks[-1].items():
            assert not np.any(named_leaves(weights.params)[name][~mask])
        assert sum(int(m.sum()) for m in masks[-1].values()) == kept
    assert all((masks[0][k] == masks[1][k]).all() for k in masks[0])


def test_the_masks_are_on_record(finished):
    context, stage, _ = finished
    lines = context.run.read_masks()
    assert {line["phase"] for line in lines} == {stage.phase}
    assert [line["step"] for line in lines] == [3, 6, 8, 9, 12, 15, 16]
    kept = KERNELS - round(0.8 * KERNELS)
    for line in lines:
        layers = line["layers"].values()
        assert sum(layer["active"] for layer in layers) == kept
        assert sum(layer["weights"] for layer in layers) == KERNELS
        assert sum(x["dropped"] for x in layers) == sum(x["grown"] for x in layers)
        assert all(0 < layer["overlap"] <= 1 for layer in layers)
    assert any(x["grown"] for line in lines for x in line["layers"].values())
    if stage is RIGL:
        for name in lines[0]["layers"]:
            rates = [line["layers"][name]["exploration"] for line in lines]
            assert rates == sorted(rates)
            assert rates[-1] > lines[0]["layers"][name]["density"]


@pytest.mark.slow
def test_a_method_may_come_after_the_activation_stage(setup_for, optimizer, tmp_path):
    context = setup_for(tmp_path)
    method = replace(
        _stage(pruning.random, sparsity=0.8), epochs=0, start="sparsify_activations"
    )
    first, _, activations = _pipeline(RIGL, optimizer)
    order = [first, replace(activations, start="pretrain"), method]
    summary = train.train(context, order, config={})
    names = [row["name"] for row in summary["stages"]]
    assert names == ["pretrain", "sparsify_activations", "sparsify_weights"]
    dense, sparse = (
        train.load_weights(context.run.checkpoints / path, sharding=context.sharding)
        for path in ("sparsify_activations", "sparsify_weights.random")
    )
    assert dense.mask is None
    expected = named_leaves(pruning.masks.apply(sparse.mask, dense.params))
    for name, found in named_leaves(sparse.params).items():
        np.testing.assert_array_equal(found, expected[name])
    assert summary["stages"][2]["weight_sparsity"] == pytest.approx(0.8, abs=1e-4)


def test_an_interrupted_stage_ends_bit_identical(
    setup_for, optimizer, finished, tmp_path, monkeypatch
):
    whole, stage, expected = finished
    context = setup_for(tmp_path, compiled=whole.compiled)
    asked = itertools.count()
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) in (10, 14))
    for _ in range(2):
        with pytest.raises(train.Interrupted):
            train.train(context, _pipeline(stage, optimizer), config={})
    summary = train.train(context, _pipeline(stage, optimizer), config={})
    assert summary["params_sha256"] == expected["params_sha256"]
    steps = [line["step"] for line in context.run.read_masks()]
    assert steps == sorted(set(steps))
    assert context.run.read_masks()[-1] == whole.run.read_masks()[-1]


@pytest.mark.slow
def test_seeds_choose_other_masks_with_the_same_program(setup_for, tmp_path):
    context = setup_for(tmp_path / "0")
    stage = _stage(pruning.random, sparsity=0.8)
    events = train.TensorBoard("", enabled=False)
    masks = []
    for seed in (0, 1):
        own = setup_for(tmp_path / str(seed), seed=seed, compiled=context.compiled)
        weights, _ = train.run_stage(
            own, stage, own.fresh_weights(), interrupt=Interrupt(), events=events
        )
        masks.append(named_leaves(weights.mask))
    assert any((masks[0][k] != masks[1][k]).any() for k in masks[0])
    (step,) = [step for key, step in context.compiled.items() if key[0] == "train"]
    assert step._cache_size() == 1


@pytest.mark.slow
def test_dense_weights_follow_gradients_at_the_sparse_ones():
    model = models.create("mlp", num_classes=3, hidden=(4,))
    images = jax.random.normal(jax.random.key(0), (8, 5, 5, 1))
    labels = jnp.arange(8) % 3
    weights = init_network(model, images[:1], jax.random.key(1))
    optimizer = straight_through(optax.sgd(0.5), sparsity=0.5)
    state = enter(weights, optimizer, jax.random.key(2))
    start = jax.tree.map(np.asarray, weights.params)
    mask = pruning.masks.magnitude(weights.params, 0.5)

    def loss(params):
        logits = model.apply({"params": params}, images, train=True)
        one_hot = jax.nn.one_hot(labels, 3)
        return -(jax.nn.log_softmax(logits) * one_hot).sum(-1).mean()

    gradients = jax.grad(loss)(pruning.masks.apply(mask, weights.params))
    step = train.make_train_step(model, optimizer, preprocess=lambda x: x)
    state, metrics = step(state, {"image": images, "label": labels}, Objective())
    for name, found in named_leaves(state.params).items():
        expected = named_leaves(start)[name] - 0.5 * named_leaves(gradients)[name]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    kernel = named_leaves(state.params)["fc1/kernel"]
    assert np.all(np.asarray(kernel) != 0)
    np.testing.assert_allclose(
        metrics["loss"], loss(pruning.masks.apply(mask, start)), rtol=1e-5
    )


def test_what_does_not_fit_is_refused_before_anything_is_trained(
    setup_for, optimizer, tmp_path
):
    context = setup_for(tmp_path)
    bad = _stage(pruning.random, sparsity=0.5, rules=[("conv", False)])
    with pytest.raises(ValueError, match=r"stage sparsify_weights\.random: .*conv"):
        train.train(context, _pipeline(bad, optimizer), config={})
    assert not context.run.checkpoints.exists()


@pytest.mark.slow
def test_an_adaptive_strength_survives_an_interruption(
    setup_for, optimizer, tmp_path, monkeypatch
):
    target = Target(0.9, max_loss=10.0, gain=1.0)
    objective = Objective(terms=(Term(penalties.l1, 1e-5, target=target),))
    stage = Stage(name="adaptive", epochs=2, optimizer=optimizer, objective=objective)
    context = setup_for(tmp_path / "whole")
    expected = train.train(context, [stage], config={})["params_sha256"]
    context = setup_for(tmp_path / "stopped", compiled=context.compiled)
    asked = itertools.count()
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) == 9)
    with pytest.raises(train.Interrupted):
        train.train(context, [stage], config={})
    assert train.train(context, [stage], config={})["params_sha256"] == expected


def test_a_stage_that_takes_dense_weights_enters_with_them():
    params = {"w": jnp.array([[1.0, -2.0], [3.0, 4.0]])}
    mask = {"w": jnp.array([[False, False], [True, True]])}
    network = Network(print, {"params": params}, mask)
    dense = straight_through(optax.sgd(0.1), sparsity=0.5)
    holds = pruning.apply_mask(mask)
    for optimizer, expected in ((dense, params["w"]), (holds, [[0, 0], [3, 4]])):
        state = enter(network, optimizer, jax.random.key(0))
        np.testing.assert_array_equal(state.params["w"], expected)
        handed_on = network_of(state, print).params["w"]
        np.testing.assert_array_equal(handed_on, [[0, 0], [3, 4]])


def test_layers_that_a_method_prunes_whole_are_named_once():
    lines = []
    callbacks = object.__new__(Callbacks)
    callbacks._context = SimpleNamespace(console=SimpleNamespace(say=lines.append))
    callbacks._stage = SimpleNamespace(path="sparse")
    callbacks._emptied = set()
    for step, active in enumerate([(3, 2), (0, 1), (0, 0), (0, 0), (4, 0)]):
        layers = {name: {"active": n} for name, n in zip("ab", active, strict=True)}
        callbacks._say_emptied(layers, step)
    assert lines == [
        "sparse: pruned whole by step 1: a",
        "sparse: pruned whole by step 2: b",
    ]
