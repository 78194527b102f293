"""Names of operations in programs that hold no scopes of modules."""

import equinox as eqx
import jax
import numpy as np
from flax import nnx
from jax import lax

from dst_jax import cost


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
