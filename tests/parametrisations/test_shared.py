"""Leaves that others own, their scales, and the budget they are pruned to."""

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.core import FrozenDict

from dst_jax import models, trees
from dst_jax.parametrisations import adjusted_density, shared

BLOCKS = [(r"(layer\d)/[2-9]/(conv\d/kernel)", r"\1/1/\2")]


def _weights(dtype=jnp.float32):
    keys = iter(jax.random.split(jax.random.key(0), 9))

    def block():
        return {
            "conv1": {"kernel": jax.random.normal(next(keys), (2, 3), dtype)},
            "bn1": {"scale": jnp.ones(3)},
        }

    layers = {
        f"layer{i}": {str(j): block() for j in range(n)} for i, n in ((1, 4), (2, 3))
    }
    return {**layers, "fc": {"kernel": jnp.ones((3, 2)), "bias": None}}


def test_each_use_is_a_scale_times_the_second_block_of_its_layer():
    weights = _weights()
    p = shared(BLOCKS)
    trained = p.init(weights)
    assert trained["scales"].keys() == {
        "layer1/2/conv1/kernel",
        "layer1/3/conv1/kernel",
        "layer2/2/conv1/kernel",
    }
    found = p(trained, ())
    for layer, block in ("12", "13", "22"):
        path = f"layer{layer}/{block}/conv1/kernel"
        scale = trained["scales"][path]
        expected = scale * weights[f"layer{layer}"]["1"]["conv1"]["kernel"]
        np.testing.assert_array_equal(
            found[f"layer{layer}"][block]["conv1"]["kernel"], expected
        )
        assert trained["weights"][f"layer{layer}"][block]["conv1"]["kernel"] is None
        assert 0 <= scale < 1
        assert scale.dtype == jnp.float32
        assert scale.shape == ()
    owned = trees.named_leaves(trained["weights"])
    for path, leaf in owned.items():
        assert leaf is trees.named_leaves(weights)[path]
        np.testing.assert_array_equal(trees.named_leaves(found)[path], leaf)
    assert len(owned) == len(trees.named_leaves(weights)) - 3
    assert len({float(scale) for scale in trained["scales"].values()}) == 3


def test_gradients_of_an_owner_are_summed_over_its_uses():
    weights = _weights()
    p = shared(BLOCKS)
    trained = p.init(weights)

    def loss(weights):
        kernels = [weights["layer1"][str(j)]["conv1"]["kernel"] for j in range(4)]
        return sum((j + 1) * jnp.sum(k**3) for j, k in enumerate(kernels))

    grads = jax.grad(lambda t: loss(p(t, ())))(trained)
    full = jax.grad(loss)(p(trained, ()))["layer1"]
    scales = trained["scales"]
    use = {j: full[str(j)]["conv1"]["kernel"] for j in range(4)}
    expected = use[1] + sum(scales[f"layer1/{j}/conv1/kernel"] * use[j] for j in (2, 3))
    found = grads["weights"]["layer1"]
    np.testing.assert_allclose(found["1"]["conv1"]["kernel"], expected, rtol=1e-6)
    np.testing.assert_array_equal(found["0"]["conv1"]["kernel"], use[0])
    assert found["2"]["conv1"]["kernel"] is None
    owner = weights["layer1"]["1"]["conv1"]["kernel"]
    for j in (2, 3):
        path = f"layer1/{j}/conv1/kernel"
        np.testing.assert_allclose(
            grads["scales"][path], jnp.sum(use[j] * owner), rtol=1e-5
        )


def test_scales_are_uniform_and_a_use_draws_the_same_whatever_else_is_shared():
    weights = {f"block{i}": jnp.ones(1) for i in range(400)}
    scales = shared([(r"block\d+", "block0")]).init(weights)["scales"]
    draws = np.array(list(scales.values()))
    assert len(draws) == 399
    assert abs(draws.mean() - 0.5) < 0.05
    assert 0 <= draws.min() < 0.02
    assert 0.98 < draws.max() < 1
    fewer = shared([(r"block\d\d$", "block0")]).init(weights)["scales"]
    assert all(scales[name] == scale for name, scale in fewer.items())


def test_the_first_rule_that_matches_decides():
    weights = {name: jnp.full(2, i) for i, name in enumerate("abcd")}
    p = shared([("c", "a"), ("[cd]", "b")])
    assert p.owners(weights) == {"c": "a", "d": "b"}


def test_a_leaf_that_owns_itself_is_trained():
    p = shared([(r"layer\d", "layer1")])
    weights = {"layer0": jnp.ones(2), "layer1": jnp.zeros(2)}
    assert p.owners(weights) == {"layer0": "layer1"}
    assert p.init(weights)["weights"]["layer1"] is weights["layer1"]


def test_a_scale_does_not_change_the_dtype():
    p = shared(BLOCKS)
    weights = p(p.init(_weights(jnp.bfloat16)), ())
    assert weights["layer1"]["2"]["conv1"]["kernel"].dtype == jnp.bfloat16


class Two(nnx.Module):
    def __init__(self):
        self.a, self.b = (nnx.Linear(2, 2, rngs=nnx.Rngs(seed)) for seed in (0, 1))


KERNEL = {"kernel": jnp.ones((2, 2))}
CONTAINERS = {
    "list": (lambda: [KERNEL, KERNEL], ("^1/", "0/")),
    "FrozenDict": (lambda: FrozenDict(a=KERNEL, b=KERNEL), ("^b", "a")),
    "NNX": (lambda: nnx.state(Two(), nnx.Param), ("^b/kernel", "a/kernel")),
    "Equinox": (
        lambda: [equinox.nn.Linear(2, 2, key=jax.random.key(i)) for i in (0, 1)],
        ("^1/weight", "0/weight"),
    ),
}


@pytest.mark.parametrize(("make", "rule"), CONTAINERS.values(), ids=CONTAINERS)
def test_any_container_is_filled_again(make, rule):
    weights = make()
    p = shared([rule])
    trained = p.init(weights)
    assert len(trained["scales"]) == 1
    assert jax.tree.structure(p(trained, ())) == jax.tree.structure(weights)


def test_what_does_not_fit_is_refused():
    weights = {"a": jnp.ones(2), "b": jnp.ones(3), "c": jnp.ones(2)}
    for rule in (("(", "a"), ("a", r"\1"), ("a", r"\g<x>")):
        with pytest.raises(ValueError, match="is not valid"):
            shared([rule])
    refused = {
        r"rule 'x' matches none of: a, b, c": [("x", "a")],
        r"owner of c must be one of \('a', 'b', 'c'\), got 'd'": [("c", "d")],
        r"owner of b must own .* but a is shared from c": [("a", "c"), ("b", "a")],
        r"owner of a must own .* but c is shared from a": [("a", "c"), ("c", "a")],
        r"b and its owner a must .*\(3,\) float32 and \(2,\) float32": [("b", "a")],
    }
    for message, rules in refused.items():
        with pytest.raises(ValueError, match=message):
            shared(rules).init(weights)
    weights["c"] = jnp.ones(2, jnp.int32)
    with pytest.raises(ValueError, match=r"c and its owner a must .* int32 and"):
        shared([("c", "a")]).init(weights)


@pytest.mark.parametrize(
    ("name", "classes", "total", "unique"),
    [
        ("resnet34", 10, 21_265_088, 11_164_352),
        ("resnet34", 100, 21_311_168, 11_210_432),
        ("resnet50", 10, 23_467_712, 13_928_128),
        ("resnet50", 100, 23_652_032, 14_112_448),
    ],
)
def test_the_budget_is_that_of_the_network_that_shares_nothing(
    name, classes, total, unique
):
    model = models.create(name, num_classes=classes, stem="cifar")
    x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    weights = jax.eval_shape(model.init, jax.random.key(0), x)["params"]
    trained = jax.eval_shape(shared(BLOCKS).init, weights)

    def kernels(tree):
        return trees.only(trees.select(tree, [("kernel$", 1)], default=None), tree)

    whole, part = kernels(weights), kernels(trained["weights"])
    assert (trees.count(whole), trees.count(part)) == (total, unique)
    density = adjusted_density(5e-4, weights=whole, trained=part)
    assert density * unique == pytest.approx(5e-4 * total, rel=1e-12)
    uses = len(trees.named_leaves(weights)) - len(
        trees.named_leaves(trained["weights"])
    )
    assert len(trained["scales"]) == uses > 0


def test_a_budget_that_cannot_be_met_is_refused():
    ten, five = {"w": jnp.ones(10)}, {"w": jnp.ones(5), "b": None}
    assert adjusted_density(0.5, weights=ten, trained=five) == 1
    with pytest.raises(ValueError, match=r"density must be at most 0\.5, .* got 0\.6"):
        adjusted_density(0.6, weights=ten, trained=five)
    with pytest.raises(ValueError, match=r"density must be in \[0, 1\], got 1\.5"):
        adjusted_density(1.5, weights=ten, trained=five)
    with pytest.raises(ValueError, match="trained must hold a prunable leaf"):
        adjusted_density(0.5, weights=ten, trained={"w": None})
