"""One network in five libraries, with taps, and its arrays in one order of axes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dst_jax import activations, channels, trees
from dst_jax.activations import Tap, tap
from dst_jax.channels.linen import shrunk as linen_shrunk

NAMES = ("conv1", "fc1", "fc2")
KEYS = jax.random.split(jax.random.key(0), 4)
WEIGHTS = {
    "conv1": {
        "kernel": jax.random.normal(KEYS[0], (3, 3, 2, 4)).at[:, :, 0].set(0),
        "bias": jnp.linspace(-1, 1, 4),
    },
    "fc1": {
        "kernel": jax.random.normal(KEYS[1], (4, 8)).at[0].set(0),
        "bias": jnp.linspace(-1, 1, 8),
    },
    "fc2": {
        "kernel": jax.random.normal(KEYS[2], (8, 3)),
        "bias": jnp.linspace(-1, 1, 3),
    },
}
X = jax.nn.relu(jax.random.normal(KEYS[3], (2, 5, 5, 2)))


class Framework(NamedTuple):
    """The network in one library.

    Attributes:
      fn: function of weights and images that returns logits.
      weights: its weights.
      tapped: function of the same that returns logits and activation maps.
      module: function of a group's `keep` that returns what `shrunk` gives back, and
        how it is called; None where a library has no modules of arrays.
    """

    fn: Callable[..., Any]
    weights: Any
    tapped: Callable[..., Any]
    module: Callable[..., Any] | None = None


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = Tap(name="relu1")(nn.relu(nn.Conv(4, (3, 3), name="conv1")(x)))
        x = nn.relu(nn.Dense(8, name="fc1")(x.max((1, 2))))
        return nn.Dense(3, name="fc2")(Tap(name="relu2")(x))


def linen():
    model, weights = Linen(), {"params": WEIGHTS}

    def tapped(weights, x):
        return activations.apply_with_activations(model, weights, x)[:2]

    def module(groups, keep):
        small = channels.remove(weights, groups, keep)
        net = linen_shrunk(model, small)
        assert isinstance(net, Linen)
        return net.apply(small, X)

    return Framework(model.apply, weights, tapped, module)


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv1 = nnx.Conv(2, 4, (3, 3), rngs=rngs)
        self.fc1 = nnx.Linear(4, 8, rngs=rngs)
        self.fc2 = nnx.Linear(8, 3, rngs=rngs)
        for name in NAMES:
            layer = getattr(self, name)
            layer.kernel[...], layer.bias[...] = WEIGHTS[name].values()

    def __call__(self, x):
        x = tap(nnx.relu(self.conv1(x)), "relu1")
        x = tap(nnx.relu(self.fc1(x.max((1, 2)))), "relu2")
        return self.fc2(x)


def nnx_state():
    graph, state = nnx.split(Nnx())

    def fn(state, x):
        return nnx.merge(graph, state)(x)

    return Framework(fn, state, activations.collect(fn))


class Sowing(Nnx):
    """The same with the taps of NNX."""

    def __call__(self, x):
        x = nnx.relu(self.conv1(x))
        self.sow(nnx.Intermediate, "relu1", x)
        x = nnx.relu(self.fc1(x.max((1, 2))))
        self.sow(nnx.Intermediate, "relu2", x)
        return self.fc2(x)


def nnx_module():
    net = Nnx()

    def fn(net, x):
        return net(x)

    def tapped(net, x):
        sowing = Sowing()
        nnx.update(sowing, nnx.state(net))
        logits, sown = nnx.capture(sowing, nnx.Intermediate)(x)
        return logits, activations.maps_of(sown)

    def module(groups, keep):
        small = channels.shrunk(fn, groups, keep)(net, X)
        assert type(small) is Nnx
        kept = int(sum(keep["conv1"]))
        assert (small.conv1.out_features, small.fc1.in_features) == (kept, kept)
        assert net.conv1.out_features == 4
        return nnx.jit(fn)(small, X)

    return Framework(fn, net, tapped, module)


class Equinox(eqx.Module):
    conv1: eqx.nn.Conv2d
    fc1: eqx.nn.Linear
    fc2: eqx.nn.Linear

    def __init__(self):
        self.conv1 = eqx.nn.Conv2d(2, 4, 3, padding=1, key=KEYS[0])
        self.fc1 = eqx.nn.Linear(4, 8, key=KEYS[0])
        self.fc2 = eqx.nn.Linear(8, 3, key=KEYS[0])

    def __call__(self, x):
        x = tap(jax.nn.relu(self.conv1(x.transpose(2, 0, 1))), "relu1")
        x = tap(jax.nn.relu(self.fc1(x.max((1, 2)))), "relu2")
        return self.fc2(x)


def equinox():
    conv1, fc1, fc2 = (WEIGHTS[name] for name in NAMES)
    net = eqx.tree_at(
        lambda m: [
            leaf for name in NAMES for leaf in jax.tree.leaves(getattr(m, name))
        ],
        Equinox(),
        [
            *(conv1["kernel"].transpose(3, 2, 0, 1), conv1["bias"].reshape(4, 1, 1)),
            *(fc1["kernel"].T, fc1["bias"], fc2["kernel"].T, fc2["bias"]),
        ],
    )

    def fn(net, x):
        return jax.vmap(net)(x)

    def module(groups, keep):
        small = channels.shrunk(fn, groups, keep)(net, X)
        assert type(small) is Equinox
        assert (small.conv1.out_channels, small.fc1.in_features) == (2, 2)
        assert net.conv1.out_channels == 4
        return eqx.filter_jit(fn)(small, X)

    return Framework(fn, net, activations.collect(fn), module)


def haiku():
    hk = pytest.importorskip("haiku")

    def net(x):
        x = tap(jax.nn.relu(hk.Conv2D(4, 3, name="conv1")(x)), "relu1")
        x = tap(jax.nn.relu(hk.Linear(8, name="fc1")(x.max((1, 2)))), "relu2")
        return hk.Linear(3, name="fc2")(x)

    apply = hk.without_apply_rng(hk.transform(net)).apply
    weights = {
        name: {"w": layer["kernel"], "b": layer["bias"]}
        for name, layer in WEIGHTS.items()
    }
    return Framework(apply, weights, activations.collect(apply))


def plain():
    def fn(weights, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        conv1, fc1, fc2 = (weights[name] for name in NAMES)
        x = lax.conv_general_dilated(
            x, conv1["kernel"], (1, 1), "SAME", dimension_numbers=numbers
        )
        x = tap(jax.nn.relu(x + conv1["bias"][None, None, None]), "relu1")
        x = x.max((1, 2)) @ fc1["kernel"] + fc1["bias"][None]
        x = tap(jax.nn.relu(x), "relu2")
        return x @ fc2["kernel"] + fc2["bias"][None]

    return Framework(fn, WEIGHTS, activations.collect(fn))


FRAMEWORKS = (linen, nnx_state, nnx_module, equinox, haiku, plain)


def canonical(tree):
    """The arrays of a tree of any library, by layer and kind, channels last."""
    found = {}
    for path, leaf in trees.named_leaves(tree).items():
        *_, layer, kind = path.split("/")
        kernel = kind in ("kernel", "weight", "w")
        if kind == "weight":  # outputs first
            leaf = np.moveaxis(leaf, (0, 1), (-1, -2))
        found[layer, "kernel" if kernel else "bias"] = leaf if kernel else leaf.ravel()
    return found


def of_channels(maps, framework):
    """Maps with the channels last, as all libraries but Equinox have them."""
    if framework is not equinox:
        return maps
    return {name: np.moveaxis(np.asarray(x), 1, -1) for name, x in maps.items()}
