"""One network in Linen, NNX, Equinox and plain JAX: the same keys, the same counts."""

import functools
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dst_jax import cost

QUICK = {"xla_backend_optimization_level": 0}
KERNEL = jax.random.normal(jax.random.key(0), (3, 3, 2, 4)).at[:, :, 0].set(0)
FC = jax.random.normal(jax.random.key(1), (4, 3)).at[0].set(0)
X = jax.nn.relu(jax.random.normal(jax.random.key(2), (2, 5, 5, 2)))
# (dense, valid, by_weight)
COUNTS = [
    # 2 images, 5 x 5 outputs, 4 filters, 3 x 3 taps, 2 channels; 13 of 15 taps per
    # axis do not read padding; one of two channels has weights.
    (3600, 2704, 1352),
    # 2 rows, 4 channels, 3 classes; one channel has no weights.
    (24, 24, 18),
]


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3), use_bias=False, name="conv1")(x))
        return nn.Dense(3, use_bias=False, name="fc")(x.max((1, 2)))


def linen():
    variables = {"params": {"conv1": {"kernel": KERNEL}, "fc": {"kernel": FC}}}
    return Linen().apply, variables


class Nnx(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv1 = nnx.Conv(2, 4, (3, 3), use_bias=False, rngs=rngs)
        self.fc = nnx.Linear(4, 3, use_bias=False, rngs=rngs)
        self.conv1.kernel[...], self.fc.kernel[...] = KERNEL, FC

    def __call__(self, x):
        with jax.named_scope("conv1"):
            x = nnx.relu(self.conv1(x))
        with jax.named_scope("fc"):
            return self.fc(x.max((1, 2)))


def nnx_module():
    graph, state = nnx.split(Nnx())
    return lambda state, x: nnx.merge(graph, state)(x), state


class Equinox(eqx.Module):
    conv1: eqx.nn.Conv2d
    fc: eqx.nn.Linear

    def __call__(self, x):
        with jax.named_scope("conv1"):
            x = jax.nn.relu(self.conv1(x.transpose(2, 0, 1)))
        with jax.named_scope("fc"):
            return self.fc(x.max((1, 2)))


def equinox():
    keys = jax.random.split(jax.random.key(0))
    conv1 = eqx.nn.Conv2d(2, 4, 3, padding=1, use_bias=False, key=keys[0])
    fc = eqx.nn.Linear(4, 3, use_bias=False, key=keys[1])
    model = eqx.tree_at(
        lambda m: (m.conv1.weight, m.fc.weight),
        Equinox(conv1, fc),
        (KERNEL.transpose(3, 2, 0, 1), FC.T),
    )
    arrays, static = eqx.partition(model, eqx.is_array)
    return lambda arrays, x: jax.vmap(eqx.combine(arrays, static))(x), arrays


def plain():
    def fn(weights, x):
        numbers = ("NHWC", "HWIO", "NHWC")
        with jax.named_scope("conv1"):
            x = lax.conv_general_dilated(
                x, weights["conv1"], (1, 1), "SAME", dimension_numbers=numbers
            )
        with jax.named_scope("fc"):
            return jax.nn.relu(x).max((1, 2)) @ weights["fc"]

    return fn, {"conv1": KERNEL, "fc": FC}


KEYS = ["conv1", "fc"]
FRAMEWORKS = {
    linen: KEYS,
    nnx_module: KEYS,
    # Equinox opens scopes of its own, named after the class.
    equinox: ["conv1/eqx.nn.Conv", "fc/eqx.nn.Linear"],
    plain: KEYS,
}


@functools.cache
def found(framework):
    fn, weights = framework()
    counted = cost.count(fn, with_output=True)
    return jax.jit(counted, compiler_options=QUICK)(weights, X)


@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_framework_counts_alike(framework):
    (output, counts), (expected, same) = found(framework), found(plain)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
    assert list(counts) == FRAMEWORKS[framework]
    assert ints(counts) == ints(same)


def test_the_counts_are_those_done_by_hand():
    _, counts = found(plain)
    for op, expected in zip(ints(counts), COUNTS, strict=True):
        dense, valid, by_activation, by_weight, effectual = op
        assert (dense, valid, by_weight) == expected
        assert 0 < effectual <= min(by_activation, by_weight)
        assert max(by_activation, by_weight) <= valid


def ints(counts: Any) -> list[list[int]]:
    return [[int(n) for n in op] for op in counts.values()]


class Layers(nnx.Module):
    """Layers without a scope, attention among them."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        attention = nnx.MultiHeadAttention(2, 4, decode=False, rngs=rngs)
        self.blocks = nnx.List([attention, nnx.Linear(4, 4, rngs=rngs)])

    def __call__(self, x):
        return self.blocks[1](self.blocks[0](x))


def test_weights_name_operations_that_have_no_scope():
    graph, state = nnx.split(nnx.eval_shape(Layers))
    x = jax.ShapeDtypeStruct((2, 5, 4), "float32")
    count = cost.count(lambda state, x: nnx.merge(graph, state)(x))
    found = [name for name, _ in jax.eval_shape(count, state, x).items()]
    inside = [f"blocks/0/{name}" for name in ("query", "key", "value")]
    of_data = ["dot_general", "dot_general_1"]
    assert found == [*inside, *of_data, "blocks/0/out", "blocks/1"]

    mlp = eqx.filter_eval_shape(eqx.nn.MLP, 4, 3, 8, 1, key=jax.random.key(0))
    shapes, static = eqx.partition(mlp, lambda x: hasattr(x, "dtype"))
    call = cost.count(lambda shapes, x: eqx.combine(shapes, static)(x))
    found = jax.eval_shape(call, shapes, jax.ShapeDtypeStruct((4,), "float32"))
    assert list(found) == ["layers/0", "layers/1"]


def test_calls_of_one_jitted_layer_have_their_own_names():
    layer = jax.jit(lambda w, x: lax.dot(x, w["kernel"]))
    weights = {name: {"kernel": np.eye(4, dtype="f")} for name in ("first", "second")}

    def fn(weights, x):
        def step(x, _):
            return layer(weights["first"], layer(weights["second"], x)), None

        x, _ = lax.scan(step, x, length=3)
        mixed = weights["first"]["kernel"] + weights["second"]["kernel"]
        return layer({"kernel": mixed}, layer(weights["first"], x))

    found = jax.eval_shape(cost.count(fn), weights, np.ones((2, 4), "f"))
    assert list(found) == [
        "second",
        "first/dot_general",
        "first/dot_general_1",
        "dot_general",
    ]
    profiled = jax.eval_shape(cost.profile(fn), weights, np.ones((2, 4), "f"))
    assert list(profiled)[:2] == ["second[0]", "second[1]"]
