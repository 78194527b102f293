"""Groups that may be emptied: a residual branch vanishes, its block is the shortcut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, trees
from dst_jax.models.networks.cifar_resnet import CifarResNet
from tests.channels.test_networks import random
from tests.channels.test_partitions import relu


def residual(w, x):
    h = x @ w["stem"]
    h = h + relu(h @ w["up"] + w["bias"][None]) @ w["down"]
    return h @ w["fc"]


def gated(w, x):
    h = x @ w["stem"]
    gate = jax.nn.sigmoid(relu(h @ w["up"] + w["bias"][None]) @ w["down"])
    return (h + h * gate) @ w["fc"]


def parallel(w, x):
    h = relu(x @ w["stem"])
    return relu(h @ w["up"] + h @ w["down"].T) @ w["fc"]


def padded(w, x):
    h = relu(x @ w["stem"])
    return relu(jnp.pad(h, ((0, 0), (1, 1))) + h @ w["up"]) @ w["fc"]


SHAPES = {"stem": (3, 6), "up": (6, 4), "bias": (4,), "down": (4, 6), "fc": (6, 2)}


def weights(**shapes):
    rng = np.random.default_rng(0)
    return {
        name: jnp.asarray(rng.normal(size=shape), jnp.float32)
        for name, shape in (SHAPES | shapes).items()
    }


def nothing(groups, *names):
    return {name: np.zeros(groups[name].size, bool) for name in names}


@pytest.fixture(scope="module")
def network():
    w, x = weights(), jnp.asarray(np.random.default_rng(1).normal(size=(2, 3)))
    return w, x, channels.groups(residual)(w, x)


def test_a_branch_that_is_emptied_leaves_the_shortcut(network):
    w, x, groups = network
    assert groups["up"].needed is None
    assert "up: 4 units, exact, may vanish" in groups.explain()
    keep = nothing(groups, "up")
    small = channels.remove(w, groups, keep)
    assert [small[name].shape for name in ("up", "down")] == [(6, 0), (0, 6)]
    fn = channels.smaller(residual, groups, keep)
    np.testing.assert_array_equal(fn(small, x), x @ w["stem"] @ w["fc"])
    text = str(jax.make_jaxpr(fn)(small, x))
    assert text.count("dot_general") == 2  # those of the stem and of fc
    found = jax.grad(lambda w: fn(w, x).sum())(small)
    masked = channels.mask(w, groups, keep)
    expected = jax.grad(lambda w: residual(w, x).sum())(masked)
    expected = channels.remove(expected, groups, keep)
    for name in w:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("fn", "group", "shapes", "why"),
    [
        (residual, "stem", {}, "it would not depend on the input"),
        (gated, "up", {}, r"it is no addition \(mul"),
        (parallel, "stem", {"fc": (4, 2)}, "both of its operands"),
        (padded, "stem", {"up": (6, 8), "fc": (8, 2)}, "both of its operands"),
    ],
)
def test_what_is_no_branch_is_refused_by_name(fn, group, shapes, why):
    w, x = weights(**shapes), jnp.ones((2, 3))
    groups = channels.groups(fn)(w, x)
    for change in (channels.remove, channels.mask):
        with pytest.raises(ValueError, match=rf"keep\['{group}'\] must keep .*{why}"):
            change(w, groups, nothing(groups, group))


def test_a_plan_holds_what_vanishes(network):
    _, _, groups = network
    plan = channels.Plan.of(groups, nothing(groups, "up"))
    again = channels.Plan.from_json(plan.to_json())
    assert again == plan
    assert again.kept["up"] == ()
    assert again.groups["up"].needed is None
    assert again.groups["stem"].needed == groups["stem"].needed
    assert list(groups.after(plan.keep)) == ["stem"]
    assert plan.then({"stem": np.arange(6) < 2}).kept == {"stem": (0, 1), "up": ()}


@pytest.mark.slow
def test_blocks_of_a_network_vanish():
    model = CifarResNet(1, width=0.25)
    x = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    variables = {k: variables[k] for k in ("params", "batch_stats")}
    groups = channels.groups(model.apply)(variables, x)
    blocks = [name for name, group in groups.items() if group.needed is None]
    assert blocks == [f"layer{i}/0/conv1" for i in (1, 2, 3)]
    keep = nothing(groups, *blocks)
    w, x = random(variables), random({"x": x})["x"]
    small = channels.remove(w, groups, keep)
    assert trees.count(small["params"]["layer1"]["0"]["conv2"]) == 0
    found = channels.smaller(model.apply, groups, keep)(small, x)
    expected = model.apply(channels.mask(w, groups, keep), x)
    np.testing.assert_allclose(found, jnp.asarray(expected), rtol=1e-6, atol=1e-6)
