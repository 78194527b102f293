"""The model of a smaller network: maps, statistics, kernels, thresholds."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, channels, cost, kernels, pruning
from dst_jax.activations import Tap
from dst_jax.models.linen import Linen
from dst_jax.models.smaller import Smaller, groups_of, labelled, smaller_network
from dst_jax.typing import Network


class Residual(nn.Module):
    """A stem, a residual block with dropout and a head."""

    @nn.compact
    def __call__(self, x, train=False):
        def norm(name, x):
            return nn.BatchNorm(use_running_average=not train, name=name)(x)

        x = norm("bn1", nn.Conv(6, (3, 3), name="conv1")(x))
        x = Tap(name="relu1")(nn.relu(x))
        h = norm("bn2", nn.Conv(8, (3, 3), name="conv2")(x))
        h = Tap(name="relu2")(nn.relu(h))
        h = nn.Dropout(0.5, deterministic=not train)(h)
        x = Tap(name="relu3")(nn.relu(x + nn.Conv(6, (1, 1), name="conv3")(h)))
        return nn.Dense(4, name="fc")(x.mean((1, 2)))


@pytest.fixture(scope="module")
def whole():
    model, x = Linen(Residual()), jax.random.normal(jax.random.key(1), (2, 4, 4, 3))
    return Network(model, jax.jit(model.init)(jax.random.key(0), x)), x


@pytest.fixture(scope="module")
def small(whole):
    network, x = whole
    groups = groups_of(network, x)
    keep = {name: np.arange(g.size) % 3 != 1 for name, g in groups.items()}
    return smaller_network(network, groups, keep)


def test_it_computes_what_the_masked_one_does(whole, small):
    network, x = whole
    plan = small.model.plan
    masked = channels.mask(dict(network.variables), plan.groups, plan.keep)
    outputs, maps, updated = jax.jit(small.model)(small.variables, x)
    expected, whole_maps, _ = jax.jit(network.model)(masked, x)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    assert list(maps) == list(whole_maps)
    assert maps["relu1"].shape[-1] == plan.keep["conv1"].sum() == 4
    assert updated == {}


def test_a_map_without_channels_is_not_among_its_maps(whole):
    network, x = whole
    groups = groups_of(network, x)
    gone = smaller_network(network, groups, {"conv2": np.zeros(8, bool)})
    _, maps, _ = gone.model(gone.variables, x)
    assert list(maps) == ["relu1", "relu3"]
    assert set(activations.counts(maps)) == {"relu1", "relu3"}


def test_it_trains_with_statistics_of_the_smaller_shapes(small, whole):
    def step(variables, x):
        rngs = {"dropout": jax.random.key(2)}
        return small.model(variables, x, train=True, rngs=rngs)[2]

    updated = jax.eval_shape(step, small.variables, whole[1])
    shapes = jax.tree.map(jnp.shape, updated["batch_stats"])
    assert shapes == jax.tree.map(jnp.shape, small.variables["batch_stats"])


@pytest.mark.slow
def test_its_kernels_are_those_of_the_whole_one(whole, small):
    def kernels_of(network):
        def forward(variables, x):
            return network.model(variables, x, train=False, rngs=None)[0]

        return kernels.by_use(forward)(dict(network.variables), whole[1])

    assert kernels_of(small) == kernels_of(whole[0])
    found = kernels_of(small)
    mask = pruning.masks.magnitude(small.params, 0.5, kernels=found)
    assert mask["conv1"]["kernel"].shape == small.params["conv1"]["kernel"].shape


def test_counts_name_the_same_layers(whole, small):
    def counts(network):
        def forward(variables, x):
            return network.model(variables, x, train=False, rngs=None)[0]

        return jax.eval_shape(cost.count(forward), dict(network.variables), whole[1])

    assert list(counts(small)) == list(counts(whole[0]))


def test_thresholds_are_put_on_its_maps(small, whole):
    names = list(jax.eval_shape(small.model, small.variables, whole[1])[1])
    variables = activations.with_thresholds(
        small.variables, dict.fromkeys(names, 1e9), kind="hard"
    )
    maps = jax.jit(small.model)(variables, whole[1])[1]
    assert not any(jnp.any(x) for x in maps.values())


def test_its_fresh_variables_have_its_shapes(small, whole):
    fresh = jax.eval_shape(small.model.init, jax.random.key(5), whole[1])
    shapes = jax.tree.map(jnp.shape, dict(small.variables))
    assert jax.tree.map(jnp.shape, fresh) == shapes


def test_loaded_from_its_plan_it_is_the_same(small, whole):
    plan = channels.Plan.from_json(small.model.plans[0])
    loaded = small._replace(model=Smaller(whole[0].model, plan))
    assert loaded.model == small.model
    assert hash(loaded.model) == hash(small.model)
    assert not loaded.model.groups.aux
    assert labelled(loaded, whole[1]).model.groups.aux == small.model.groups.aux
    assert groups_of(loaded, whole[1]).aux == groups_of(small, whole[1]).aux


def test_a_mask_without_leaves_of_a_group_is_made_smaller(whole):
    network, x = whole
    rules = [("conv[23]", False)]
    mask = pruning.masks.magnitude(network.params, 0.5, rules=rules)
    keep = {"conv2": np.arange(8) < 1}
    small = smaller_network(network._replace(mask=mask), groups_of(network, x), keep)
    assert small.mask["conv2"]["kernel"] is None
    assert small.mask["fc"]["kernel"].shape == (6, 4)
