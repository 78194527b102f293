"""EAST's parts in a stage: nothing but the plain sparse network is handed on."""

import itertools
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import data, pruning, train
from dst_jax.activations import with_phase
from dst_jax.models.linen import Linen, as_model
from dst_jax.models.networks.layers import Chain, tapped_relu
from dst_jax.parametrisations import block_rules, shared
from dst_jax.runs import Run
from dst_jax.train import Console, Context, Stage, chain, stages
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.stage_plan import plan_stage
from dst_jax.train.state import enter
from dst_jax.trees import named_leaves
from dst_jax.typing import Network

SPARSITY = 0.9


class Block(nn.Module):
    """A dense layer in the name of a convolution, and a rectifier."""

    @nn.compact
    def __call__(self, x):
        return x + tapped_relu(nn.Dense(12, name="conv1")(x), name="relu1")


class Residual(nn.Module):
    """A stage of four blocks."""

    rectifier: str = "relu"

    @nn.compact
    def __call__(self, x):
        x = nn.Dense(12, name="conv1")(x.reshape(len(x), -1))
        x = Chain([Block] * 4, name="layer1")(tapped_relu(x, name="relu"))
        return nn.Dense(10, name="fc")(x)


def method(*, steps, seed, kernels, weights, trained, **_):
    sparsity = stages.trained_sparsity(
        SPARSITY, weights=weights, trained=trained, kernels=kernels
    )
    return pruning.east(
        optax.sgd(0.05), sparsity=sparsity, interval=1, end=steps, period=2, cycles=2,
        seed=seed, kernels=kernels, track=True)  # fmt: skip


PLAIN = Stage(name="sparse", epochs=1, optimizer=method)
EAST = stages.east(PLAIN, dyrelu=stages.PhaseOut(0.25, 0.9), owners=2, fan_in=True)


def build(directory, **options):
    return Context(
        model=Residual(),
        dataset=data.load("digits", image_size=8),
        run=Run(directory),
        batch_size=128,
        eval_batch_size=256,
        console=Console(quiet=True),
        save_every=3,
        **options,
    )


def _pipeline():
    after = Stage(
        name="after", epochs=1, optimizer=lambda *, mask, **_: chain(0.05, mask=mask)
    )
    return [EAST, after]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    context = build(tmp_path_factory.mktemp("east"))
    return context, train.train(context, _pipeline(), config={})


def _load(context, name):
    path = context.run.checkpoints / name
    return train.load_weights(path, sharding=context.sharding, model=Residual())


@pytest.mark.slow
def test_the_plain_network_is_handed_on(finished):
    context, _ = finished
    fresh = context.fresh_weights()
    for name in ("sparse", "after"):
        network = _load(context, name)
        assert set(network.variables) == {"params"}
        assert jax.tree.map(jnp.shape, network.params) == jax.tree.map(
            jnp.shape, fresh.params
        )
        context.check_weights(network)
    network = _load(context, "sparse")
    masks = named_leaves(network.mask)
    assert set(masks) == {k for k in named_leaves(fresh.params) if "kernel" in k}
    for use in "23":  # the mask, and the weights but for a scale, of their owner
        own, other = (network.params["layer1"][i]["conv1"]["kernel"] for i in "1" + use)
        ratio = np.asarray(other)[np.asarray(own) != 0] / np.asarray(own)[own != 0]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    whole = sum(m.size for m in masks.values())
    unique = sum(
        int(m.sum()) for k, m in masks.items() if "layer1/2" not in k and "/3/" not in k
    )
    assert unique == round((1 - SPARSITY) * whole)


@pytest.mark.slow
def test_resumed_in_the_middle_of_its_phases_it_ends_bit_identical(
    finished, tmp_path, monkeypatch
):
    whole, expected = finished
    context = build(tmp_path, compiled=whole.compiled)
    asked = itertools.count(1)
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) == 5)
    with pytest.raises(train.Interrupted):
        train.train(context, _pipeline(), config={})
    summary = train.train(context, _pipeline(), config={})
    assert summary["params_sha256"] == expected["params_sha256"]


@pytest.mark.slow
def test_the_last_phase_and_the_expanded_network_compute_the_same(finished):
    """The state's network, with DyReLUs at phase 0, and the one that is handed on."""
    context = finished[0]
    plan = plan_stage(context, EAST, _entered(context))
    state = jax.jit(plan.build)(_entered(context))
    state = state.replace(model_state=with_phase(state.model_state, 0))
    x = jax.random.normal(jax.random.key(3), (5, 8, 8, 1))
    sharing = shared(block_rules(owners=2))
    used = {"params": sharing(state.params, ()), **state.model_state}
    dynamic = plan.entered.model
    at_zero, _, _ = dynamic(used, x)
    handed_on = stages.plain_rectifiers(plan.network_of(state))
    assert handed_on.model == Linen(Residual())
    np.testing.assert_array_equal(at_zero, handed_on.model(handed_on.variables, x)[0])
    before, _, _ = dynamic({**used, **with_phase(used, 1)}, x)
    assert np.abs(before - at_zero).max() > 1e-3
    # what the first mask leaves has the variance of its own fan-in
    mask = named_leaves(pruning.get_mask(state.opt_state))
    kernel = named_leaves(state.params)["weights/conv1/kernel"]
    own = np.asarray(mask["weights/conv1/kernel"])
    start = np.asarray(context.fresh_weights().params["conv1"]["kernel"])
    factor = (own.shape[0] / np.maximum(own.sum(0), 1)) ** 0.5
    np.testing.assert_allclose(kernel, np.where(own, start * factor, 0), 1e-6)


def _entered(context):
    return EAST.on_entry(context.fresh_weights(), context=context)


def test_a_part_that_cannot_be_is_refused(tmp_path):
    context = build(tmp_path)
    plain = stages.WithDyReLU("sparse")
    for model in (print, nn.Dense(3)):
        with pytest.raises(ValueError, match="dyrelu needs a Linen module"):
            plain(Network(as_model(model), {"params": {}}), context=context)
    scheduled = Stage(
        name="a", epochs=1, optimizer=print, schedules={"phases": lambda step: step}
    )
    with pytest.raises(ValueError, match="dyrelu brings a schedule of its own"):
        stages.east(scheduled, dyrelu=stages.PhaseOut())
    with pytest.raises(ValueError, match=r"end must be .* >= 0\.5, got 0\.4"):
        stages.PhaseOut(0.5, 0.4)
    with pytest.raises(ValueError, match="owners must be a whole number"):
        stages.east(PLAIN, owners=0)
    dense = Network(as_model(Residual()), {"params": {"kernel": jnp.ones((2, 2))}})
    with pytest.raises(ValueError, match="first_weights needs an optimizer"):
        enter(
            dense, optax.sgd(0.1), jax.random.key(0),
            first_weights=pruning.scale_to_fan_in)  # fmt: skip
    with pytest.raises(ValueError, match="density must be at most"):
        partial(
            stages.trained_sparsity, 0.1, weights=dense.params,
            trained={"kernel": jnp.ones((1, 2))})()  # fmt: skip
