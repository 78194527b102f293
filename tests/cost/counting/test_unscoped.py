"""Names of operations in programs that hold no scopes of modules."""

from collections.abc import Callable

import equinox as eqx
import jax
import numpy as np
import pytest
from flax import nnx
from jax import lax

from dst_jax import cost, kernels


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


def test_arrays_outside_of_any_module_have_their_own_names():
    weights = {"fc1": np.ones((2, 3), "f"), "fc2": np.ones((3, 2), "f")}
    call = cost.count(lambda w, x: x @ w["fc1"] @ w["fc2"])
    assert list(jax.eval_shape(call, weights, np.ones((1, 2), "f"))) == ["fc1", "fc2"]


class Block(eqx.Module):
    """An Equinox module with functions, flags and a kernel that is never called."""

    first: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    rest: list[eqx.nn.Linear]
    activation: Callable[..., jax.Array]
    train: bool = False

    def __init__(self):
        keys = jax.random.split(jax.random.key(0), 3)
        self.first = eqx.nn.Linear(4, 6, key=keys[0])
        self.norm = eqx.nn.LayerNorm(6)
        self.rest = [eqx.nn.Linear(6, 3, key=key) for key in keys[1:]]
        self.activation = jax.nn.relu

    def __call__(self, x, *, scale=1.0):
        assert self.train is False
        x = self.norm(self.activation(self.first(x)))
        return self.rest[0](x) * scale


@pytest.mark.slow
def test_a_module_of_equinox_is_a_function():
    block, x = Block(), jax.random.normal(jax.random.key(1), (5, 4))
    batched = eqx.filter_vmap(block)
    plain, (output, counts) = jax.jit(
        lambda x: (
            cost.count(lambda net, x: jax.vmap(net)(x))(block, x),
            cost.count(batched, with_output=True)(x),
        )
    )(x)
    np.testing.assert_allclose(output, jax.vmap(block)(x), rtol=1e-6)
    assert list(plain) == ["first", "rest/0"]
    assert list(counts) == ["_fun/first", "_fun/rest/0"]  # Equinox's own wrapper
    numbers = list(cost.as_dict(counts).values())
    assert numbers == list(cost.as_dict(plain).values())
    one = jax.eval_shape(lambda x: cost.count(block)(x, scale=2.0), x[0])
    assert list(one) == ["first", "rest/0"]
    each = jax.eval_shape(cost.count(batched, per_example=True), x)
    assert {op.effectual.shape for op in each.values()} == {(5,)}
    assert set(kernels.by_use(block)(x[0])) == {"first/weight", "rest/0/weight"}
    for analysis in (cost.profile, cost.surrogate, cost.input_zeros):
        assert jax.eval_shape(analysis(batched), x).keys() == counts.keys()
    with pytest.raises(ValueError, match="weights must be left out for a Block"):
        cost.count(block, weights=1)


def test_a_module_of_nnx_is_a_function_too():
    layer = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
    found = kernels.by_use(layer)(np.ones((2, 4), "f"))
    assert {path: kernel.outputs for path, kernel in found.items()} == {"kernel": (1,)}
