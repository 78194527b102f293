"""Taps inside `nn.scan`, `nn.vmap`, `nn.remat` and `nn.jit`."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, penalties
from dst_jax.activations import Tap, apply_with_activations, with_thresholds

LAYERS, BATCH, WIDTH = 3, 2, 4
X = jax.random.normal(jax.random.key(0), (BATCH, WIDTH))
STACKED = {"params": 0, "activations": 0}
SPLIT = {"split_rngs": {"params": True}}


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _=None):
        return Tap(name="relu")(nn.relu(nn.Dense(x.shape[-1], name="fc")(x))), None


class Net(nn.Module):
    """Blocks one after another, or next to each other."""

    stack: str
    axes: dict

    @nn.compact
    def __call__(self, x):
        x = Tap(name="first")(nn.relu(x))
        match self.stack:
            case "scan":
                blocks = nn.scan(Block, variable_axes=self.axes, length=LAYERS, **SPLIT)
                return blocks(name="layers")(x, None)[0]
            case "members":
                blocks = nn.vmap(
                    Block,
                    variable_axes=self.axes,
                    in_axes=None,
                    axis_size=LAYERS,
                    **SPLIT,
                )
                return blocks(name="layers")(x)[0].sum(0)
            case "examples":
                blocks = nn.vmap(
                    Block,
                    variable_axes={**self.axes, "params": None},
                    split_rngs={"params": False},
                )
                return blocks(name="layers")(x)[0]
            case "layers of examples":
                examples = nn.vmap(
                    Block,
                    in_axes=(0, None),
                    variable_axes={**self.axes, "params": None},
                    split_rngs={"params": False},
                )
                blocks = nn.scan(
                    examples, variable_axes=self.axes, length=LAYERS, **SPLIT
                )
                return blocks(name="layers")(x, None)[0]
            case _:
                lifted = {"remat": nn.remat, "jit": nn.jit}[self.stack]
                return lifted(Block)(name="layers")(x)[0]


def maps_of(stack, axes=STACKED, x=X):
    net = Net(stack, dict(axes))
    variables = net.init(jax.random.key(1), x)
    return apply_with_activations(net, variables, x)[1], variables


def alone(params, x):
    return np.maximum(np.asarray(x) @ params["kernel"] + params["bias"], 0)


def layer(variables, i):
    return {k: np.asarray(x[i]) for k, x in variables["params"]["layers"]["fc"].items()}


@pytest.mark.slow
@pytest.mark.parametrize("stack", ["scan", "members", "layers of examples"])
def test_a_stack_has_a_map_for_each_layer(stack):
    maps, variables = maps_of(stack)
    assert list(maps) == ["first", *(f"layers/relu/{i}" for i in range(LAYERS))]
    x = nn.relu(X)
    for i in range(LAYERS):
        expected = alone(layer(variables, i), x)
        np.testing.assert_allclose(maps[f"layers/relu/{i}"], expected, rtol=1e-6)
        x = x if stack == "members" else expected
    found = penalties.total(maps, penalties.l1)
    right = sum(np.abs(x).sum() for x in maps.values()) / BATCH
    assert found == pytest.approx(right, rel=1e-6)
    counts = activations.counts(maps)
    assert {x.shape for x in counts.values()} == {(BATCH,)}
    zeros = [np.count_nonzero(x == 0) for x in maps.values()]
    assert [int(x.sum()) for x in counts.values()] == zeros
    assert len(activations.sparsity(maps).per_layer) == 1 + LAYERS


@pytest.mark.parametrize("stack", ["examples", "remat", "jit"])
def test_what_stacks_no_layers_keeps_its_map(stack):
    maps, variables = maps_of(stack)
    assert list(maps) == ["first", "layers/relu"]
    fc = jax.tree.map(np.asarray, variables["params"]["layers"]["fc"])
    expected = alone(fc, nn.relu(X))
    np.testing.assert_allclose(maps["layers/relu"], expected, rtol=1e-6)


def test_layers_as_many_as_examples_are_no_examples():
    maps, _ = maps_of("scan", x=jnp.ones((LAYERS, LAYERS)))
    assert {x.shape for x in maps.values()} == {(LAYERS, LAYERS)}
    assert len(maps) == 1 + LAYERS


def test_under_jit_and_grad():
    net = Net("scan", STACKED)
    variables = net.init(jax.random.key(1), X)

    @jax.jit
    @jax.grad
    def slopes(variables):
        return penalties.total(
            apply_with_activations(net, variables, X)[1],
            penalties.l1,
            weights=[("relu/2", 1.0), ("", 0.0)],
        )

    kernels = slopes(variables)["params"]["layers"]["fc"]["kernel"]
    assert (abs(kernels).sum((1, 2)) > 0).all()  # all layers are below the last map


@pytest.mark.parametrize("stack", ["scan", "members"])
def test_maps_that_are_not_collected_are_an_error(stack):
    with pytest.raises(ValueError, match=r"maps of \['layers/relu'\] were not coll"):
        maps_of(stack, {"params": 0})


def test_a_batch_axis_that_is_not_known_is_an_error():
    with pytest.raises(ValueError, match="batch axis of the maps of layers/relu is"):
        maps_of("scan", {"params": 0, "activations": 1})


def test_a_model_that_takes_one_size_of_batch_is_refused():
    class Fixed(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Net("scan", STACKED, name="net")(x + jnp.ones((BATCH, WIDTH)))

    with pytest.raises(ValueError, match="batch axis of the maps of net/layers/relu"):
        apply_with_activations(Fixed(), Fixed().init(jax.random.key(1), X), X)


def test_a_threshold_without_its_tap_is_an_error():
    maps, variables = maps_of("scan")
    net = Net("scan", STACKED)
    with pytest.raises(ValueError, match=r"\('first', 'layers/relu'\), got 'frist'"):
        apply_with_activations(net, with_thresholds(variables, {"frist": 0.5}), X)
    changed = with_thresholds(variables, {"layers/relu": 0.5})
    with pytest.raises(ValueError, match="threshold of layers/relu does not reach"):
        apply_with_activations(net, changed, X)
    changed = with_thresholds(variables, {"first": 0.5})
    found = apply_with_activations(net, changed, X)[1]["first"]
    np.testing.assert_array_equal(found, activations.fat_relu(maps["first"], 0.5))


def test_a_threshold_that_is_broadcast_reaches_all_layers():
    scanned = nn.scan(
        Block,
        variable_axes=STACKED,
        variable_broadcast="thresholds",
        length=LAYERS,
        **SPLIT,
    )(name="layers")
    variables = scanned.init(jax.random.key(1), X, None)
    changed = with_thresholds(variables, {"relu": 0.3})
    for x in apply_with_activations(scanned, changed, X, None)[1].values():
        assert not ((x > 0) & (x < 0.3)).any()
