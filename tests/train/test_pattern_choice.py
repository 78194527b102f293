"""A differentiable choice between N:M patterns."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import models, train
from dst_jax.activations import patterns_of
from dst_jax.train import stages
from dst_jax.train.pattern_choice import (
    CANDIDATES,
    Candidate,
    annealed,
    expected_cost,
    mixed,
    shares_of,
)

COSTS = {"one": (1.0, 0.5, 0.5, 0.25, 0.25), "two": (1.0, 0.5, 0.5, 0.25, 0.25)}
MU = 0.05
STEPS = 150


def _data():
    """Inputs of which few channels matter, and targets of a network of 2:4 weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(128, 16))
    first = np.where(np.arange(16)[:, None] % 4 < 2, rng.normal(size=(16, 16)), 0)
    second = rng.normal(size=(16, 4))
    y = np.maximum(x @ first / 3, 0) @ second / 3
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


X, Y = _data()


def _first():
    rng = np.random.default_rng(1)
    shapes = {"one": (16, 16), "two": (16, 4)}
    draw = {k: rng.normal(size=s) / 4 for k, s in shapes.items()}
    return {k: jnp.asarray(w, jnp.float32) for k, w in draw.items()}


def _objective(weights, shares):
    hidden = jax.nn.relu(mixed(jnp.matmul, X, weights["one"], shares["one"]))
    outputs = mixed(jnp.matmul, hidden, weights["two"], shares["two"])
    return jnp.square(outputs - Y).mean() + MU * expected_cost(shares, COSTS)


def _trained(weights, shares):
    """The objective after training with these shares."""

    def step(weights, _):
        grads = jax.grad(_objective)(weights, shares)
        return jax.tree.map(lambda w, g: w - 0.3 * g, weights, grads), None

    weights, _ = jax.lax.scan(step, weights, length=2 * STEPS)
    return _objective(weights, shares)


def _searched():
    """The choice after weights and logits were trained together."""
    temperature = annealed(steps=STEPS)

    def step(trained, t):
        def loss(trained):
            weights, logits = trained
            own = {k: shares_of(a, temperature(t)) for k, a in logits.items()}
            return _objective(weights, own)

        grads = jax.grad(loss)(trained)
        rates = 0.3, 3.0
        return tuple(
            jax.tree.map(lambda w, g, r=rate: w - r * g, part, grad)
            for rate, part, grad in zip(rates, trained, grads, strict=True)
        ), None

    logits = dict.fromkeys(COSTS, jnp.zeros(len(CANDIDATES)))
    (_, logits), _ = jax.lax.scan(step, (_first(), logits), jnp.arange(STEPS))
    return {k: jnp.argmax(a) for k, a in logits.items()}


@pytest.mark.slow
def test_the_toy_finds_a_pair_within_one_percent_of_the_best():
    """All 5^2 pairs are trained; what the search chooses is trained as they are."""
    pairs = list(itertools.product(range(5), repeat=2))
    eye = jnp.eye(5)
    every = {k: eye[jnp.array([p[i] for p in pairs])] for i, k in enumerate(COSTS)}
    losses = jax.jit(jax.vmap(partial(_trained, _first())))(every)
    found = jax.jit(_searched)()
    chosen = pairs.index((int(found["one"]), int(found["two"])))
    assert losses[chosen] <= 1.01 * losses.min()
    assert jnp.median(losses) > 1.4 * losses.min()  # the choice matters


@pytest.fixture(scope="module")
def searched(make_setup, tmp_path_factory):
    """A short search on digits at a high price, from a dense start."""
    model = models.create("mlp", num_classes=10, hidden=(16, 12))
    context = make_setup(tmp_path_factory.mktemp("runs") / "run", model=model)
    plan = stages.choose_patterns(
        epochs=1,
        finetune_epochs=0,
        optimizer=train.sgd(0.05),
        strength=100.0,
        candidates=(Candidate(), Candidate("2:4", "2:4"), Candidate(None, "3:4")),
    )
    (row,) = train.train(context, plan, config={})["stages"]
    path = context.run.checkpoints / plan[-1].path
    network = context.with_model(train.load_weights(path, sharding=context.sharding))
    return context, network, row


@pytest.mark.slow
def test_a_stage_chooses_what_the_price_asks_for(searched):
    """Only 2:4 has fewer cycles; the network is an ordinary one with its choice."""
    context, network, row = searched
    context.check_weights(network)
    assert patterns_of(network.variables) == dict.fromkeys(("fc1", "fc2", "fc3"), "2:4")
    for layer in ("fc1", "fc2", "fc3"):
        kernel = np.asarray(network.params[layer]["kernel"])
        groups = (kernel != 0).reshape(kernel.shape[0] // 4, 4, -1).sum(1)
        assert groups.max() == 2
        assert network.mask[layer]["kernel"].sum() == kernel.size / 2
    assert row["weight_sparsity"] == pytest.approx(0.5, abs=1e-6)
    counts = context.run.read_stage("choose_patterns")["layers"]["counts"]["fc2"]
    assert counts["by_activation"] <= counts["dense"] / 2
