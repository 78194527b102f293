"""Groups and smaller functions of networks: the zoo, and blocks of its kind."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
