"""Kernels taken apart into layers and put together again."""

from typing import Any, NamedTuple

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from flax import nnx
from flax.core import freeze
from hypothesis import given, settings
from hypothesis import strategies as st

from dst_jax import kernels, trees
from dst_jax.kernels import Kernel, Kernels


class Pair(NamedTuple):
    first: Any
    second: Any


def test_layers_of_a_stack_are_in_row_major_order():
    x = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    kernel = Kernel(stack=(3, 1), window=(0,), inputs=(4,), outputs=(2,))
    layers = kernels.apart({"k": x}, {"k": kernel})["k"]
    assert len(layers) == 15
    for i in range(5):
        for j in range(3):
            np.testing.assert_array_equal(
                layers[3 * i + j], x[:, j, :, i, :].transpose(0, 2, 1)
            )


def test_inputs_and_outputs_are_merged():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    query, out = (
        Kernel(inputs=(0,), outputs=(1, 2)),
        Kernel(inputs=(0, 1), outputs=(2,)),
    )
    layers = kernels.apart({"q": x, "o": x}, {"q": query, "o": out})
    assert (layers["q"] == x.reshape(2, 12)).all()
    assert (layers["o"] == x.reshape(6, 4)).all()


def test_a_vector_is_a_column():
    layers = kernels.apart([jnp.ones(3)], {"0": Kernel(inputs=(0,))})
    assert layers[0].shape == (3, 1)


@pytest.mark.parametrize("axes", [2, 4])
def test_what_is_canonical_is_not_touched(axes):
    kernel = Kernel((), tuple(range(axes - 2)), (axes - 2,), (axes - 1,))
    tree = {"k": jnp.ones((2,) * axes), "b": jnp.ones(2)}
    layers = kernels.apart(tree, {"k": kernel})
    assert layers == {"k": tree["k"], "b": None}
    assert layers["k"] is tree["k"]
    assert kernels.together(layers, tree, {"k": kernel})["k"] is tree["k"]

    def there_and_back(tree):
        return kernels.together(kernels.apart(tree, {"k": kernel}), tree, {"k": kernel})

    assert jax.make_jaxpr(there_and_back)(tree).eqns == []


def _linen() -> Any:
    params = nn.Dense(3).init(jax.random.key(0), jnp.ones((1, 2)))["params"]
    return {"fc": params, "none": None, "empty": {}}


def _linear() -> eqx.nn.Linear:
    return eqx.nn.Linear(2, 3, key=jax.random.key(0))


class Module(eqx.Module):
    first: eqx.nn.Linear
    function: Any = jax.nn.relu
    size: int = eqx.field(static=True, default=3)


TREES = {
    "dict": (_linen, "fc/kernel"),
    "frozen dict": (lambda: freeze(_linen()), "fc/kernel"),
    "named tuple": (lambda: Pair(_linen(), None), "first/fc/kernel"),
    "list": (lambda: [None, _linen()], "1/fc/kernel"),
    "nnx": (lambda: nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0))), "kernel"),
    "equinox": (
        lambda: Module(eqx.nn.Linear(2, 3, key=jax.random.key(0))),
        "first/weight",
    ),
    "array": (lambda: jnp.ones((2, 3)), ""),
}
KERNELS = {
    "canonical": Kernel(inputs=(0,), outputs=(1,)),
    "swapped": Kernel(inputs=(1,), outputs=(0,)),
    "stack": Kernel(stack=(0,), outputs=(1,)),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@pytest.mark.parametrize("name", TREES)
def test_any_container(name, kernel):
    make, path = TREES[name]
    tree = make()
    found = kernels.of(tree, Kernels({path: kernel}))
    assert found == {path: kernel}
    layers = kernels.apart(tree, found)
    assert len(jax.tree.leaves(layers)) == (
        leaf_at(tree, path).shape[0] if kernel.stack else 1
    )
    back = kernels.together(layers, tree, found)
    assert list(trees.named_leaves(back)) == [path]
    np.testing.assert_array_equal(leaf_at(back, path), leaf_at(tree, path))


def leaf_at(tree: Any, path: str) -> Any:
    return trees.named_leaves(tree)[path]


@pytest.mark.parametrize("dtype", [bool, jnp.bfloat16, jnp.int32])
def test_masks_and_scores_go_the_same_way(dtype):
    x = (jnp.arange(24).reshape(2, 3, 4) % 5 > 2).astype(dtype)
    kernel = {"k": Kernel(stack=(1,), inputs=(2,), outputs=(0,))}
    layers = kernels.apart({"k": x}, kernel)
    assert {layer.dtype for layer in layers["k"]} == {x.dtype}
    back = kernels.together(layers, {"k": x}, kernel)["k"]
    assert back.dtype == x.dtype
    assert (back == x).all()


def test_layers_of_shapes_are_shapes():
    tree = {"k": jax.ShapeDtypeStruct((2, 3, 4, 5), jnp.float32)}
    kernel = {"k": Kernel(stack=(0,), inputs=(1,), outputs=(2, 3))}
    layers = kernels.apart(tree, kernel)
    assert layers["k"] == (jax.ShapeDtypeStruct((3, 20), jnp.float32),) * 2
    assert kernels.together(layers, tree, kernel) == tree


def test_a_kernel_without_layers_stays_none():
    tree = {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 3)), "c": None}
    kernel = {name: Kernel(inputs=(1,), outputs=(0,)) for name in "ab"}
    layers = kernels.apart(tree, kernel) | {"a": None}
    back = kernels.together(layers, tree, kernel)
    assert back["a"] is None
    assert back["b"].shape == (2, 3)


def test_an_empty_stack_and_empty_layers():
    stack = {"k": Kernel(stack=(0,), inputs=(1,), outputs=(2,))}
    for shape in ((0, 2, 3), (2, 0, 3)):
        tree = {"k": jnp.ones(shape)}
        layers = kernels.apart(tree, stack)
        assert len(layers["k"]) == shape[0]
        assert kernels.together(layers, tree, stack)["k"].shape == shape


@pytest.mark.slow
@settings(max_examples=30)
@given(st.permutations(range(5)), st.lists(st.integers(0, 5), min_size=3, max_size=3))
def test_together_is_the_inverse_of_apart(axes, cuts):
    a, b, c = sorted(cuts)
    kernel = {"k": Kernel(*map(tuple, (axes[:a], axes[a:b], axes[b:c], axes[c:])))}
    tree = {"k": np.arange(2 * 3 * 1 * 2 * 4).reshape(2, 3, 1, 2, 4)}
    back = kernels.together(kernels.apart(tree, kernel), tree, kernel)
    np.testing.assert_array_equal(back["k"], tree["k"])


def test_kernels_of_another_tree_are_refused():
    known = Kernels({"params/fc/kernel": Kernel(inputs=(0,), outputs=(1,))})
    with pytest.raises(
        ValueError, match="none of conv/kernel is one of params/fc/kernel"
    ):
        kernels.of({"conv": {"kernel": jnp.ones((2, 2))}}, known)
    with pytest.raises(ValueError, match=r"fc/kernel has the shape \(2, 3, 4\)"):
        kernels.of({"fc": {"kernel": jnp.ones((2, 3, 4))}}, known)
    assert kernels.of({"fc": None}, known) == {}


def test_kernels_are_by_name_unless_given():
    tree = {"fc": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones((1, 3))}}
    assert kernels.of(tree) == kernels.by_name(tree)
    assert kernels.of(tree, {"fc/bias": Kernel(inputs=(0,), outputs=(1,))}).keys() == {
        "fc/bias"
    }


def test_by_use_that_was_not_called_is_refused(monkeypatch):
    # As users see it, without the types that tests check.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(
        TypeError, match="kernels must be a mapping of paths, as by_use"
    ):
        kernels.of({"kernel": jnp.ones((2, 2))}, kernels.by_use(jnp.dot))
