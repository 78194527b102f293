"""Sensitivities against a recount: one element of a map at a time is nonzero."""

from inspect import unwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from dst_jax import activations, cost
from dst_jax.cost.gradients.input_sensitivity import input_sensitivity
from dst_jax.cost.gradients.sensitivity import sensitivity
from dst_jax.models import LeNet5, ResNet
from dst_jax.models.networks.resnet import BasicBlock

SHAPE = (6, 5, 4)  # height, width, channels


def sparse(seed: int, *shape: int):
    x = np.random.default_rng(seed).normal(size=shape)
    return jnp.asarray(np.where(x > 0.2, x, 0), jnp.float32)


def conv(x, w, numbers=("NHWC", "HWIO", "NHWC"), strides=(1, 1), padding="SAME", **kw):
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=numbers, **kw
    )


def strided(w, x):
    padding = ((1, 0), (-1, 2))
    return conv(
        x,
        w,
        strides=(2, 1),
        padding=padding,
        rhs_dilation=(1, 2),
        feature_group_count=2,
    )


def channels_first(w, x):
    x = jnp.moveaxis(x, -1, 1)
    numbers = ("NCHW", "OIHW", "NCHW")
    padding = ((1, 1), (0, 0))
    return conv(x, w, numbers, padding=padding, lhs_dilation=(2, 1))


def flattened(w, x):
    x = jnp.pad(x, ((0, 0), (1, 0), (0, 1), (0, 0)))[:, :, ::2]
    return x.transpose(0, 3, 1, 2).reshape(len(x), -1) @ w


def read_twice(w, x):
    x = jax.nn.relu(x)
    return conv(x, w["conv2"]), conv(x, w["downsample"], strides=(2, 2))


@jax.jit
def wrapped(w, x):
    @jax.checkpoint
    def inner(x):
        doubled = jnp.concatenate([x, 2 * x[..., :1]], -1)
        return doubled[..., jnp.array([4, 0, 1])] @ w

    return jax.nn.relu(inner(jnp.where(jnp.arange(4) < 3, x, 0)))


def gated(w, x):
    return jnp.abs(x) * w["gate"] @ w["fc"] + 3 * x**2 @ w["fc"]


def pooled(w, x):
    largest = lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, 3, 3, 1),
        (1, 2, 2, 1),
        ((0, 0), (1, 1), (1, 1), (0, 0)),
    )
    return conv(largest, w["conv"]), x.mean((1, 2)) @ w["fc"]


TAILS = {
    "strides, padding, dilation, groups": (strided, lambda: sparse(1, 3, 2, 2, 6)),
    "channels first": (channels_first, lambda: sparse(1, 5, 4, 3, 2)),
    "flattened": (flattened, lambda: sparse(1, 7 * 3 * 4, 8)),
    "read twice": (
        read_twice,
        lambda: {"conv2": sparse(1, 3, 3, 4, 5), "downsample": sparse(2, 1, 1, 4, 6)},
    ),
    "wrapped": (wrapped, lambda: sparse(1, 3, 7)),
    "gated": (
        gated,
        lambda: {"gate": jnp.array([[[[1.0, 0.0, 2.0, 0.0]]]]), "fc": sparse(1, 4, 9)},
    ),
    "pooled": (pooled, lambda: {"conv": sparse(1, 3, 3, 4, 3), "fc": sparse(2, 4, 5)}),
}


def recounted(tail, w, field):
    """Multiplications for every element of the map, the only nonzero one."""
    n = int(np.prod(SHAPE))
    alone = jnp.eye(n).reshape(n, 1, *SHAPE)
    counts = jax.vmap(lambda x: cost.total(cost.count(tail)(w, x)))(alone)
    return getattr(counts, field).as_float().reshape(SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("name", TAILS)
def test_costs_are_what_is_counted_for_one_nonzero_element(name):
    tail, weights = TAILS[name]

    def with_map(w, x):
        x = x * 1
        return tail(w, x), x

    @jax.jit
    def compared(w, x):
        nonzero = sensitivity(with_map)(w, x)[1], recounted(tail, w, "effectual")
        everything = (
            sensitivity(with_map, partners="all")(w, x)[1],
            recounted(tail, jax.tree.map(jnp.ones_like, w), "effectual"),
        )
        return nonzero, everything

    for actual, expected in compared(weights(), sparse(0, 2, *SHAPE)):
        np.testing.assert_array_equal(actual, expected)
        assert actual.max() > 0


def test_costs_of_a_data_dependent_partner_are_averaged_over_the_batch():
    queries, keys = sparse(0, 2, 3, 4), sparse(1, 2, 5, 4)

    def attention(queries, keys):
        return queries, keys, jnp.einsum("bqd,bkd->bqk", queries, keys)

    by_query, by_key, scores = jax.jit(sensitivity(attention))(queries, keys)
    per_channel = np.count_nonzero(keys, 1).mean(0)
    np.testing.assert_array_equal(by_query, np.tile(per_channel, (3, 1)))
    per_channel = np.count_nonzero(queries, 1).mean(0)
    np.testing.assert_array_equal(by_key, np.tile(per_channel, (5, 1)))
    np.testing.assert_array_equal(scores, np.zeros((3, 5)))


def test_new_values_are_charged_to_themselves():
    w = {"first": sparse(1, 4, 3), "second": sparse(2, 3, 5)}

    def network(w, x):
        hidden = x @ w["first"] + 1
        return {"input": x, "hidden": hidden, "again": hidden}, hidden @ w["second"]

    costs, output = jax.jit(sensitivity(network))(w, sparse(0, 2, 4))
    np.testing.assert_array_equal(costs["input"], np.count_nonzero(w["first"], 1))
    per_channel = np.count_nonzero(w["second"], 1)
    np.testing.assert_array_equal(costs["hidden"], per_channel)
    np.testing.assert_array_equal(costs["again"], per_channel)
    np.testing.assert_array_equal(output, np.zeros(5))


def maps_of(model):
    """A function that returns the tapped maps, and the output."""

    def forward(variables, x):
        output, maps, _ = activations.apply_with_activations(model, variables, x)
        return maps, output

    return forward


def pruned(model, x):
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    keep = np.random.default_rng(0)

    def draw(leaf):
        values = keep.normal(size=leaf.shape) * (keep.random(leaf.shape) < 0.4)
        return jnp.asarray(values, jnp.float32)

    variables = jax.tree.map(draw, variables)
    if "batch_stats" in variables:
        variables["batch_stats"] = jax.tree.map(jnp.ones_like, variables["batch_stats"])
    return variables


def payment(costs, maps) -> int:
    return int((np.asarray(costs) * (np.asarray(maps) != 0)).sum(dtype=np.float64))


def test_costs_add_up_to_the_counts_of_lenet5():
    model, x = LeNet5(), sparse(0, 3, 28, 28, 1)
    variables = pruned(model, x)

    @jax.jit
    def compared(variables, x):
        forward = maps_of(model)
        costs, _ = sensitivity(forward)(variables, x)
        return costs, forward(variables, x)[0], cost.count(forward)(variables, x)

    costs, maps, counts = compared(variables, x)
    assert {k: v.shape for k, v in costs.items()} == {
        k: v.shape[1:] for k, v in maps.items()
    }
    paid = {k: payment(costs[k], maps[k]) for k in maps}
    assert paid["relu3"] == int(counts["fc2"].effectual) > 0
    assert paid["relu4"] == int(counts["fc3"].effectual) > 0
    # Several nonzeros of one pooling window each pay for it.
    assert paid["relu1"] >= int(counts["conv2"].effectual)
    assert paid["relu2"] >= int(counts["fc1"].effectual)


def test_costs_add_up_to_the_counts_of_a_resnet():
    model = ResNet(BasicBlock, (1, 1), num_classes=3, stem="cifar", width=0.1)
    x = sparse(0, 2, 8, 8, 3)
    variables = pruned(model, x)

    @jax.jit
    def compared(variables, x):
        forward = maps_of(model)
        costs, _ = sensitivity(forward)(variables, x)
        return costs, forward(variables, x)[0], cost.count(forward)(variables, x)

    costs, maps, counts = compared(variables, x)
    paid = {k: payment(costs[k], maps[k]) for k in maps}
    effectual = {k: int(op.effectual) for k, op in counts.items()}
    assert paid["relu"] == effectual["layer1/0/conv1"] > 0
    assert paid["layer1/0/relu1"] == effectual["layer1/0/conv2"]
    assert paid["layer1/0/relu2"] == (
        effectual["layer2/0/conv1"] + effectual["layer2/0/downsample/0"]
    )
    assert paid["layer2/0/relu1"] == effectual["layer2/0/conv2"]
    classes = np.count_nonzero(variables["params"]["fc"]["kernel"], 1)
    expected = np.broadcast_to(classes, maps["layer2/0/relu2"].shape[1:])
    np.testing.assert_array_equal(costs["layer2/0/relu2"], expected)


def test_costs_of_resnet18_have_its_maps_shapes():
    model = ResNet(BasicBlock, (2, 2, 2, 2))
    x = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    maps, _ = jax.eval_shape(maps_of(model), variables, x)
    costs, logits = jax.eval_shape(sensitivity(maps_of(model)), variables, x)
    assert {k: v.shape for k, v in costs.items()} == {
        k: v.shape[1:] for k, v in maps.items()
    }
    assert logits.shape == (1000,)


def looped(w, x):
    return lax.scan(lambda x, _: (x @ w, None), x, length=2)[0]


def stacked(w, x):
    return lax.scan(lambda x, _: (x @ w, x), x, length=2)[1]


@pytest.mark.parametrize("fn", [lambda w, x: (x, looped(w, x)), stacked])
def test_a_map_in_a_loop_that_multiplies_is_refused(fn):
    with pytest.raises(ValueError, match="cannot follow a map into 'scan'"):
        sensitivity(fn)(jnp.eye(2), jnp.ones((1, 2)))


def test_a_loop_that_no_map_reaches_is_passed_over():
    def network(w, x):
        hidden = looped(w, x) + 1
        return hidden, hidden @ w

    costs, _ = jax.jit(sensitivity(network))(jnp.eye(2), jnp.ones((1, 2)))
    np.testing.assert_array_equal(costs, [1, 1])


def test_unknown_partners_are_refused():
    with pytest.raises(ValueError, match="partners must be one of"):
        unwrap(sensitivity)(looped, partners="dense")  # past the type checker


def test_costs_of_inputs_add_up_to_the_counts():
    w = {"conv": sparse(1, 3, 3, 2, 6), "q": sparse(2, 4, 3), "fc": sparse(3, 3, 5)}
    x = sparse(0, 2, *SHAPE)

    def network(w, x):
        hidden = conv(x, w["conv"], strides=(2, 1), feature_group_count=2)
        queries = x[:, 0] @ w["q"]
        scores = jnp.einsum("bqd,bkd->bqk", queries, x[:, 1, :, :3])
        return hidden, scores @ (jnp.ones((5, 3)) @ w["fc"])

    @jax.jit
    def compared(w, x):
        return input_sensitivity(network)(w, x), cost.count(network)(w, x)

    costs, counts = compared(w, x)
    assert costs.keys() - counts.keys() == {"dot_general/lhs", "dot_general/rhs"}
    assert payment(costs["conv"], x) == int(counts["conv"].effectual)
    paid = payment(costs["q"], x[:, 0])
    assert paid == int(counts["q"].effectual) > 0
    keys = x[:, 1, :, :3]
    np.testing.assert_array_equal(costs["dot_general/lhs"], np.count_nonzero(keys, 1))
    dense = jax.jit(input_sensitivity(network, partners="all"))(w, x)
    np.testing.assert_array_equal(dense["q"], [3, 3, 3, 3])
