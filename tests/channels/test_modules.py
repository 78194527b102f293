"""Modules of NNX and Equinox with smaller arrays."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dst_jax import channels
from dst_jax.channels.same_program import difference
from dst_jax.jaxprs.calls import opened

KEY = jax.random.key(0)
IMAGES = jax.random.normal(KEY, (2, 5, 5, 3))


def call(net, x):
    return net(x)


class Convolutions(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(3, 8, (1, 1), rngs=rngs)
        self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=rngs)
        self.depthwise = nnx.Conv(8, 8, (3, 3), feature_group_count=8, rngs=rngs)
        self.grouped = nnx.Conv(8, 6, (1, 1), feature_group_count=2, rngs=rngs)
        self.head = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        x = self.depthwise(nnx.relu(self.norm(self.conv(x))))
        return self.head(nnx.relu(self.grouped(nnx.relu(x))).mean((1, 2)))


class Attention(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.attention = nnx.MultiHeadAttention(4, 8, decode=False, rngs=rngs)
        self.head = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        return self.head(self.attention(x))


def shrunk(net, x):
    """A module of about half the units, checked against the smaller function."""
    groups = channels.groups(call)(net, x)
    keep = {name: np.arange(g.size) % 2 == 0 for name, g in groups.items()}
    small = channels.shrunk(call, groups, keep)(net, x)
    found = jax.jit(call)(small, x)
    replayed = jax.jit(channels.smaller(call, groups, keep))
    expected = replayed(channels.remove(net, groups, keep), x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return small


@pytest.mark.slow
def test_layers_of_nnx_know_their_new_sizes():
    net = Convolutions()
    small = shrunk(net, IMAGES)
    assert (small.conv.out_features, small.norm.num_features) == (4, 4)
    depthwise, grouped = small.depthwise, small.grouped
    assert (depthwise.in_features, depthwise.feature_group_count) == (4, 4)
    assert (grouped.in_features, grouped.feature_group_count) == (4, 2)
    assert grouped.kernel_shape == grouped.kernel.shape
    assert (net.conv.out_features, net.conv.kernel.shape[-1]) == (8, 8)
    small = shrunk(Attention(), jax.random.normal(KEY, (2, 5, 8)))
    assert small.attention.num_heads == 2
    assert small.attention.value.out_features == (2, 2)


class Normed(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm
    head: eqx.nn.Linear

    def __init__(self):
        self.conv = eqx.nn.Conv2d(3, 6, 1, key=KEY)
        self.norm = eqx.nn.BatchNorm(6, "batch", mode="batch")
        self.head = eqx.nn.Linear(6, 2, key=KEY)

    def __call__(self, x, state):
        x, state = self.norm(self.conv(x), state)
        return self.head(jax.nn.relu(x).mean((1, 2))), state


def normed(net, state, x):
    axes = {"in_axes": (0, None), "out_axes": (0, None)}
    return jax.vmap(net, axis_name="batch", **axes)(x, state)


@pytest.mark.slow
def test_batch_statistics_of_equinox_shrink_with_the_module():
    """Under `vmap` the mean over the batch is a `psum` along an axis of the array."""
    net, state = eqx.nn.make_with_state(Normed)()
    x = IMAGES.transpose(0, 3, 1, 2)
    options = {"weights": (0, 1), "has_aux": True}
    groups = channels.groups(normed, **options)(net, state, x)
    assert {name: (g.size, g.exact) for name, g in groups.items()} == {
        "0/conv": (6, True)
    }
    keep = {"0/conv": np.arange(6) < 2}
    found = channels.shrunk(normed, groups, keep, **options)(net, state, x)
    output, after = eqx.filter_jit(normed)(*found, x)
    masked = channels.mask({"0": net, "1": state}, groups, keep)
    expected, whole = eqx.filter_jit(normed)(masked["0"], masked["1"], x)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
    for a, b in zip(*map(jax.tree.leaves, (after, whole)), strict=True):
        np.testing.assert_allclose(a, b[:2] if b.ndim else b, rtol=1e-5)
    assert found[0].norm.input_size == 2


class Shared(nnx.Module):
    def __init__(self):
        self.first = self.second = nnx.Linear(4, 4, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.second(self.first(x))


def test_what_no_module_can_compute_is_refused():
    x = jnp.ones((2, 4))
    keep = {"first": np.arange(4) < 2}
    net = Shared()
    groups = channels.groups(call)(net, x)
    with pytest.raises(ValueError, match="one that is 'first' and 'second'"):
        channels.shrunk(call, groups, keep)(net, x)

    layers = [nnx.Linear(4, 4, rngs=nnx.Rngs(i)) for i in (0, 1)]
    keep = {"layers/0": keep["first"]}
    for between, message in {
        lambda x: x.reshape(-1, 2, 2).reshape(
            -1, 4
        ): "must not hold numbers .* got: dot_general",
        lambda x: x - x.mean(1, keepdims=True): r"div reads 2\.0 in one and 4\.0",
    }.items():
        net = nnx.Sequential(layers[0], between, layers[1])
        groups = channels.groups(call)(net, x)
        with pytest.raises(ValueError, match=message):
            channels.shrunk(call, groups, keep)(net, x)


def test_programs_that_hold_nan_are_one_program():
    def fn(x):
        return jnp.where(x > 0, x, np.array([np.nan, 1], "f"))

    program = opened(jax.make_jaxpr(fn)(np.ones(2, "f")))
    assert difference(program, program) is None
