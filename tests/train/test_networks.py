"""Stages that go on with another network than the one they got; plain functions."""

import itertools
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models, penalties, pruning, report, train
from dst_jax.models.linen import Linen
from dst_jax.train import Objective, Stage, Term
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.state import init_network
from dst_jax.trees import named_leaves
from dst_jax.typing import Model, Network

HIDDEN = 16


def mlp(variables, x, *, train=False, rngs=None):
    """One hidden layer of any width."""
    del train, rngs
    first, last = variables["params"]["fc1"], variables["params"]["fc2"]
    x = x.reshape(len(x), -1)
    hidden = jax.nn.relu(x @ first["kernel"] + first["bias"][None])
    return hidden @ last["kernel"] + last["bias"][None], {"relu1": hidden}, {}


@dataclass(frozen=True)
class Smaller:
    """A network of which something has been removed, as a record should say."""

    plans: tuple[str, ...]

    def __call__(self, variables, x, *, train=False, rngs=None):
        return mlp(variables, x, train=train, rngs=rngs)


def fresh(seed=0, hidden=HIDDEN):
    keys = jax.random.split(jax.random.key(seed))
    params = {
        "fc1": {
            "kernel": 0.05 * jax.random.normal(keys[0], (784, hidden)),
            "bias": jnp.zeros(hidden),
        },
        "fc2": {
            "kernel": 0.2 * jax.random.normal(keys[1], (hidden, 10)),
            "bias": jnp.zeros(10),
        },
    }
    return Network(mlp, {"params": params})


def keep_half(network):
    """Keeps the units whose weights are larger than the median: known once trained."""
    params = network.params
    norms = jnp.linalg.norm(params["fc2"]["kernel"], axis=1)
    kept = norms > jnp.median(norms)
    smaller = {
        "fc1": {
            "kernel": params["fc1"]["kernel"][:, kept],
            "bias": params["fc1"]["bias"][kept],
        },
        "fc2": {
            "kernel": params["fc2"]["kernel"][kept],
            "bias": params["fc2"]["bias"],
        },
    }
    return Network(Smaller(("relu1: half",)), {"params": smaller})


def keep_first(network):
    """Keeps the first half of the units: known beforehand."""
    first, last = network.params["fc1"], network.params["fc2"]
    half = HIDDEN // 2
    smaller = {
        "fc1": {k: w[..., :half] for k, w in first.items()},
        "fc2": {"kernel": last["kernel"][:half], "bias": last["bias"]},
    }
    return Network(mlp, {"params": smaller})


def prune(network):
    return network._replace(mask=pruning.masks.magnitude(network.params, 0.5))


@pytest.fixture(scope="module")
def context_for(make_setup):
    return lambda path, **options: make_setup(path, model=mlp, **options)


def _pipeline(optimizer, remove=keep_half):
    """Trains, removes half of the hidden units, prunes what is left, trains."""
    maps = Objective(terms=(Term(penalties.l1, 1e-4),))
    return [
        Stage(name="large", epochs=1, optimizer=optimizer, on_exit=remove),
        Stage(name="small", epochs=1, optimizer=optimizer, objective=maps),
        Stage(name="sparse", epochs=1, optimizer=optimizer, on_entry=prune),
    ]


@pytest.fixture(scope="module")
def finished(context_for, optimizer, tmp_path_factory):
    context = context_for(tmp_path_factory.mktemp("smaller"), save_every=3)
    stages = _pipeline(optimizer)
    return context, train.train(context, stages, config={}, init=fresh())


def test_what_a_stage_hands_on_may_be_smaller(finished):
    context, summary = finished
    for name in ("large", "small", "sparse"):
        path = context.run.checkpoints / name
        network = train.load_weights(path, sharding=context.sharding, model=mlp)
        assert network.params["fc1"]["kernel"].shape == (784, HIDDEN // 2)
        assert network.params["fc2"]["kernel"].shape == (HIDDEN // 2, 10)
        record = context.run.read_stage(name)
        assert record["network"]["shapes"]["params/fc1/bias"] == [HIDDEN // 2]
        assert record["network"]["plans"] == ["relu1: half"]
        dense = sum(c["dense"] for c in record["layers"]["counts"].values())
        assert dense == 599 * (784 + 10) * HIDDEN // 2
        elements = record["layers"]["activations"]["relu1"]["elements"]
        assert elements == 599 * HIDDEN // 2
        found = context.evaluate(network, context.dataset.test, count=True)
        assert found.metrics["top1"] == record["top1"]
    assert summary["stages"][2]["weight_sparsity"] == pytest.approx(0.5, abs=1e-4)
    assert summary["stages"][1]["top1"] > 0.3
    mask = named_leaves(network.mask)["fc1/kernel"]
    assert not np.any(np.asarray(network.params["fc1"]["kernel"])[~np.asarray(mask)])


def test_drift_is_measured_between_equal_shapes(finished):
    rows = {row["name"]: row for row in finished[1]["stages"]}
    assert rows["small"]["drift"]["euclidean"] > 0
    assert train.records.drift(fresh().params, fresh(hidden=4).params) is None


def test_the_record_names_the_original(finished):
    record = finished[0].run.read_config()
    assert record["stages"] == ["large", "small", "sparse"]
    assert record["model"]["name"].endswith(":mlp")
    assert record["model"]["shapes"]["params/fc1/kernel"] == [784, HIDDEN]
    assert record["task"]["name"] == "classification"
    assert [stage.name for stage in report.load(finished[0].run.path).stages] == [
        "large",
        "small",
        "sparse",
    ]


@pytest.mark.parametrize("stop", [8, 16, 21])
def test_resumed_it_ends_bit_identical(
    context_for, optimizer, finished, tmp_path, monkeypatch, stop
):
    whole, expected = finished
    context = context_for(tmp_path, save_every=3, compiled=whole.compiled)
    asked = itertools.count(1)
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) == stop)
    try:
        train.train(context, _pipeline(optimizer), config={}, init=fresh())
    except train.Interrupted:
        assert stop not in (8, 16)  # there a stage has ended by itself
    summary = train.train(context, _pipeline(optimizer), config={}, init=fresh())
    assert summary["params_sha256"] == expected["params_sha256"]


def test_a_finished_run_is_not_trained_again(
    context_for, optimizer, finished, monkeypatch
):
    context, expected = finished
    monkeypatch.setattr("dst_jax.train.stage_run.fit", None)
    summary = train.train(context, _pipeline(optimizer), config={}, init=fresh())
    assert summary["params_sha256"] == expected["params_sha256"]


@pytest.mark.slow
def test_stages_may_start_from_networks_of_several_sizes(
    context_for, optimizer, tmp_path
):
    context = context_for(tmp_path)
    large, small, sparse = _pipeline(optimizer, keep_first)
    remove = Stage(name="remove", epochs=0, optimizer=optimizer, on_exit=keep_first)
    control = Stage(name="control", epochs=1, optimizer=optimizer, start="large")
    stages = [replace(large, on_exit=None), remove, small, control, sparse]
    train.train(context, stages, config={}, init=fresh())
    widths = {
        stage.name: context.run.read_stage(stage.name)["network"]["shapes"][
            "params/fc1/bias"
        ]
        for stage in stages
    }
    assert widths == {
        "large": [16],
        "remove": [8],
        "small": [8],
        "control": [16],
        "sparse": [16],
    }
    steps = [step for key, step in context.compiled.items() if key[0] == "train"]
    assert [step._cache_size() for step in steps] == [1, 1, 1]  # control is as large


def test_what_does_not_fit_the_smaller_network_is_refused_beforehand(
    context_for, optimizer, tmp_path
):
    context = context_for(tmp_path)

    def wrong(network):
        network.params["fc1"]["kernel"].reshape(784, HIDDEN)
        return network

    large, small, _ = _pipeline(optimizer, keep_first)
    small = replace(small, on_entry=wrong)
    with pytest.raises((ValueError, TypeError), match="reshape"):
        train.train(context, [large, small], config={}, init=fresh())
    assert not context.run.checkpoints.exists()


def test_a_hook_may_ask_for_the_context(context_for, optimizer, tmp_path):
    context = context_for(tmp_path)
    seen = []

    def measured(network, *, context):
        seen.append(context.evaluate(network, context.dataset.holdout, count=False))
        return network

    stage = Stage(name="given", epochs=0, optimizer=optimizer, on_exit=measured)
    summary = train.train(context, [stage], config={}, init=fresh())
    assert summary["stages"][0]["name"] == "given"
    assert [found.examples for found in seen] == [len(context.dataset.holdout)]


@pytest.mark.slow
def test_any_function_is_a_model(context_for, optimizer, tmp_path):
    """Without maps, statistics or an `init`."""
    weight = jnp.zeros((784, 10))

    def linear(variables, x, *, train, rngs):
        return x.reshape(len(x), -1) @ variables["params"]["w"], {}, {}

    context = context_for(tmp_path)
    stage = Stage(name="linear", epochs=2, optimizer=optimizer)
    network = Network(linear, {"params": {"w": weight}})
    summary = train.train(context, [stage], config={}, init=network)
    assert summary["stages"][0]["top1"] > 0.7
    assert np.isnan(summary["stages"][0]["activation_sparsity"]["element"])
    with pytest.raises(ValueError, match="has no init"):
        train.train(context, [stage], config={})


@pytest.mark.slow
def test_a_function_equals_the_module_that_it_replays(make_setup, optimizer, tmp_path):
    module = models.create("mlp", num_classes=10, hidden=(HIDDEN,))
    stage = Stage(name="trained", epochs=1, optimizer=optimizer)
    context = make_setup(tmp_path / "module", model=module)
    expected = train.train(context, [stage], config={})
    start = context.fresh_weights()
    assert start.model == context.model == Linen(module)

    def replayed(variables, x, *, train, rngs):
        return Linen(module)(variables, x, train=train, rngs=rngs)

    context = make_setup(tmp_path / "function", model=replayed)
    init = Network(replayed, start.variables)
    found = train.train(context, [stage], config={}, init=init)
    assert found["params_sha256"] == expected["params_sha256"]
    assert found["stages"][0]["flops_drop"] == expected["stages"][0]["flops_drop"]


def test_a_network_is_a_pytree_of_its_arrays():
    network = fresh()
    assert isinstance(mlp, Model)
    assert len(jax.tree.leaves(network)) == 4
    doubled = jax.jit(lambda n: jax.tree.map(lambda x: 2 * x, n))(network)
    assert doubled.model is mlp
    np.testing.assert_array_equal(
        doubled.params["fc1"]["kernel"], 2 * network.params["fc1"]["kernel"]
    )
    assert jax.eval_shape(keep_first, network).params["fc1"]["bias"].shape == (8,)


def test_a_module_without_train_is_a_model():
    import flax.linen as nn

    network = init_network(nn.Dense(3), jnp.ones((1, 2)), jax.random.key(0))
    outputs, maps, updated = network.model(network.variables, jnp.ones((5, 2)))
    assert (outputs.shape, dict(maps), updated) == ((5, 3), {}, {})


def test_a_network_loaded_without_its_model_says_so(finished):
    context, _ = finished
    network = train.load_weights(context.run.path, sharding=context.sharding)
    with pytest.raises(ValueError, match="loaded without its model"):
        network.model(network.variables, jnp.ones((1, 28, 28, 1)))
    assert context.with_model(network).model is mlp
