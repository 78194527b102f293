"""Groups and smaller functions of networks: the zoo, and three libraries."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dst_jax import channels, cost, models, trees
from tests.channels.conftest import members, subsets

KEY = jax.random.key(0)
COUNTS = {  # of groups
    "densenet121": 120,
    "efficientnet_lite0": 24,
    "googlenet": 57,
    "lenet5": 4,
    "mlp": 2,
    "mobilenet_v1": 14,
    "mobilenet_v2": 25,
    "resnet18": 12,  # 8 inside blocks, 4 residual streams
    "resnet20": 12,
    "resnet50": 37,
    "unet": 22,
    "vit_tiny": 25,  # 12 times heads, 12 times the hidden layer, 1 residual stream
}
SMALL = {
    "lenet5": {},
    "resnet20": {"width": 0.25},
    "unet": {"width": 0.125, "depth": 3},
    "vit_tiny": {"width": 0.5, "depth": 1},
}


def shapes(name, size=32, **options):
    """A network, and the shapes of its variables and its input."""
    model = models.create(name, num_classes=10, **options)
    image = models.task(name).image
    image = image if name in ("lenet5", "mlp") else (size, size, 3)
    x = jax.ShapeDtypeStruct((2, *image), jnp.float32)
    variables = jax.eval_shape(model.init, KEY, x)
    return model, {k: variables[k] for k in variables if k != "activations"}, x


def random(tree):
    """Random arrays of these shapes; variances are positive."""
    rng = np.random.default_rng(0)

    def draw(name, leaf):
        fan_in = np.prod(leaf.shape[:-1]) if len(leaf.shape) > 1 else 4
        x = rng.normal(size=leaf.shape) * (2 / fan_in) ** 0.5
        return jnp.asarray(abs(x) + 0.5 if name.endswith("var") else x, jnp.float32)

    return trees.map_named(draw, tree)


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_the_groups_of_the_zoo(name):
    model, variables, x = shapes(name, size=224 if name == "vit_tiny" else 64)
    groups = channels.groups(model.apply)(variables, x)
    assert len(groups) == COUNTS[name]
    assert len({path for g in groups.values() for path, _, _ in g.members}) > 0
    for group in groups.values():
        assert "produces" in group.roles, group
        assert not group.name.startswith("params")
    if name != "vit_tiny":  # whose LayerNorm takes the mean of squared differences
        assert all(group.exact for group in groups.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_removed_or_zeroed_outputs_are_equal(name):
    model, variables, x = shapes(name, **SMALL[name])
    groups = channels.groups(model.apply)(variables, x)
    keep = subsets({k: g for k, g in groups.items() if g.exact}, 0)
    weights, x = random(variables), random({"x": x})["x"]
    small = channels.smaller(model.apply, groups, keep)
    found = jax.jit(small)(channels.remove(weights, groups, keep), x)
    expected = jax.jit(model.apply)(channels.mask(weights, groups, keep), x)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * float(abs(b).max()))


class Block(nn.Module):
    """A residual block with BatchNorm, a convolution of two groups and a head."""

    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Conv(8, (3, 3), name="stem")(x)
        h = nn.Conv(12, (1, 1), name="conv1")(x)
        h = nn.relu(nn.BatchNorm(use_running_average=not train, name="bn1")(h))
        h = nn.Conv(8, (3, 3), feature_group_count=2, name="conv2")(h)
        h = nn.BatchNorm(use_running_average=not train, name="bn2")(h)
        return nn.Dense(3, name="fc")(nn.relu(x + h).mean((1, 2)))


@pytest.fixture(scope="module")
def block():
    model = Block()
    x = jnp.asarray(np.random.default_rng(1).normal(size=(4, 6, 6, 2)), jnp.float32)
    variables = random(jax.eval_shape(model.init, KEY, x))
    groups = channels.groups(model.apply)(variables, x)
    return model, variables, x, groups, subsets(groups, 2)


@pytest.mark.slow
def test_gradients_of_kept_weights_are_equal(block):
    model, variables, x, groups, keep = block
    masked = channels.mask(variables, groups, keep)
    small = channels.smaller(model.apply, groups, keep)

    def loss(fn):
        return lambda variables: jnp.square(fn(variables, x)).sum()

    found = jax.grad(loss(small))(channels.remove(variables, groups, keep))
    expected = channels.remove(jax.grad(loss(model.apply))(masked), groups, keep)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_statistics_shrink_in_training_at_another_batch_size(block):
    model, variables, x, groups, keep = block

    def step(variables, x):
        return model.apply(variables, x, train=True, mutable="batch_stats")

    trained = channels.groups(step, has_aux=True)(variables, x)
    assert {k: members(g) for k, g in trained.items()} == {
        k: members(g) for k, g in groups.items()
    }
    small = channels.smaller(step, trained, keep, has_aux=True)
    found, stats = small(channels.remove(variables, trained, keep), x[:3])
    expected, masked = step(channels.mask(variables, trained, keep), x[:3])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    masked = channels.remove(masked, trained, keep)
    for a, b in zip(*map(jax.tree.leaves, (stats, masked)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    labels = trained.aux["batch_stats/bn1/mean"]
    assert labels == (tuple(("conv1", i % 6) for i in range(12)),)  # i and i + 6


def test_the_smaller_function_is_an_ordinary_one(block):
    model, variables, x, groups, keep = block
    small = channels.smaller(model.apply, groups, keep)
    weights = channels.remove(variables, groups, keep)
    expected = small(weights, x)
    np.testing.assert_allclose(
        jax.vmap(lambda x: small(weights, x[None])[0])(x),
        expected,
        rtol=1e-4,
        atol=1e-5,
    )
    counts = jax.eval_shape(cost.count(small), weights, x)
    assert list(counts) == ["stem", "conv1", "conv2", "fc"]


def test_optimizer_states_shrink(block):
    import optax

    _, variables, _, groups, keep = block
    state = optax.adam(0.1).init(variables["params"])
    small = channels.remove(state, groups, keep)
    again = optax.adam(0.1).init(channels.remove(variables, groups, keep)["params"])
    assert jax.tree.map(jnp.shape, small) == jax.tree.map(jnp.shape, again)


class NNXNet(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.fc1 = nnx.Linear(4, 8, rngs=rngs)
        self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
        self.fc2 = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.fc2(nnx.relu(self.norm(self.fc1(x))))


class LinenNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Dense(8, name="fc1")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True, name="norm")(x))
        return nn.Dense(3, name="fc2")(x)


class EquinoxNet(eqx.Module):
    fc1: eqx.nn.Linear
    fc2: eqx.nn.Linear

    def __init__(self):
        self.fc1 = eqx.nn.Linear(4, 8, key=KEY)
        self.fc2 = eqx.nn.Linear(8, 3, key=KEY)

    def __call__(self, x):
        return self.fc2(jax.nn.relu(self.fc1(x)))


def plain(w, x):
    return jax.nn.relu(x @ w["fc1"] + w["b1"][None]) @ w["fc2"]


def libraries():
    x = jnp.ones((2, 4))
    linen = LinenNet()
    yield "linen", linen.apply, linen.init(KEY, x), x
    graph, state = nnx.split(NNXNet())
    yield "nnx", lambda s, x: nnx.merge(graph, s)(x), state, x
    net = EquinoxNet()
    yield "equinox", lambda net, x: jax.vmap(net)(x), net, x
    w = {"fc1": jnp.ones((4, 8)), "b1": jnp.ones(8), "fc2": jnp.ones((8, 3))}
    yield "plain", plain, w, x


@pytest.mark.parametrize("library", list(libraries()), ids=lambda case: case[0])
def test_one_network_has_the_same_groups_in_every_library(library):
    _, fn, weights, x = library
    groups = channels.groups(fn)(weights, x)
    assert [(name, group.size) for name, group in groups.items()] == [("fc1", 8)]
    keep = subsets(groups, 0)
    small = channels.remove(weights, groups, keep)
    found = channels.smaller(fn, groups, keep)(small, x)
    expected = fn(channels.mask(weights, groups, keep), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
