"""States whose masks and memory have the shardings of the parameters they belong to.

What is made of shapes alone (zeros, random numbers) knows nothing of where the
parameters are: JAX puts it on one device, or on every device whole.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array

from dst_jax import trees
from dst_jax.kernels import Kernel
from dst_jax.pruning.explicit_axes import abstract, in_place, known
from dst_jax.pruning.packing import PackedLeaf
from dst_jax.typing import Mask, Params, is_traced

__all__ = ["like_params", "placed", "tied"]

_Owners = dict[str, list[tuple[tuple[int, ...], Any]]]
"""By path: shapes of a parameter or its layers, and something that is known of it."""


def like_params(
    build: Callable[..., Any],
    params: Params,
    *args: Any,
    kernels: Mapping[str, Kernel] | None = None,
) -> Any:
    """`build(params, *args)`, every leaf sharded as the parameter that it belongs to.

    A leaf belongs to a parameter if its path ends in the parameter's path and its last
    axes have the parameter's shape. The others are whole on every device. Where the
    parameters are on several devices `build` is traced, so that nothing of full size is
    on one of them.

    Args:
      build: function of arrays.
      params: pytree of arrays.
      *args: further arguments of `build`.
      kernels: kernels that are not layers as they are, by path. Memory of such a kernel
        has the shapes of its layers; an axis that is merged behind another loses its
        sharding there.

    >>> like_params(lambda params: jax.tree.map(jnp.zeros_like, params), {"w": 1.0})
    {'w': Array(0., dtype=float32, weak_type=True)}
    """
    leaves = trees.named_leaves(params)
    shardings_of = known(leaves)
    if not shardings_of:
        return tied(build(params, *args), params)
    owners = dict(_owners(leaves, shardings_of, kernels or {}))
    whole = next(iter(shardings_of.values())).update(spec=PartitionSpec())
    shardings = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _sharding(trees.path_name(path), leaf, owners, whole),
        jax.eval_shape(build, *jax.tree.map(abstract, (params, *args))),
        is_leaf=_is_packed,
    )
    made = in_place(build, shardings)
    if not any(map(is_traced, leaves.values())):
        made = jax.jit(made, out_shardings=shardings)
    return made(params, *args)


def placed(tree: Mask, params: Params) -> Mask:
    """A tree shaped like the parameters, each leaf on the devices of its parameter.

    Args:
      tree: pytree of arrays, `None` where a parameter has none.
      params: pytree of arrays with the same path names.

    >>> placed({"w": jnp.array([True])}, {"w": jnp.ones(1)})
    {'w': Array([ True], dtype=bool)}
    """
    leaves = trees.named_leaves(params)
    there = {} if any(map(is_traced, leaves.values())) else known(leaves)

    def put(name: str, leaf: Any) -> Any:
        unknown = name not in there or is_traced(leaf)
        return leaf if unknown else jax.device_put(leaf, there[name])

    return tied(trees.map_named(put, tree), params)


def tied(tree: Any, params: Params) -> Any:
    """`tree`, of which leaves depend on the parameter they belong to while JAX traces.

    Their values are the same. Without a dependence the compiler does not know that the
    two should be sharded alike.

    Args:
      tree: pytree of arrays.
      params: pytree of arrays.

    >>> tied({"w": jnp.ones(1)}, {"w": jnp.ones(1)})
    {'w': Array([1.], dtype=float32)}
    """
    leaves = trees.named_leaves(params)
    owners: _Owners = {
        k: [(w.shape, w)]
        for k, w in leaves.items()
        if is_traced(w) and jnp.issubdtype(w.dtype, jnp.floating)
    }

    def tie(path: Any, leaf: Any) -> Any:
        found = _owner(trees.path_name(path), jnp.shape(leaf), owners)
        if found is None or found[0] != jnp.shape(leaf):
            return leaf
        return _as_before(leaf, found[1])

    return jax.tree_util.tree_map_with_path(tie, tree) if owners else tree


def _as_before(leaf: Array, w: Array) -> Array:
    """`leaf`, chosen by something that holds of every `w`."""
    kind = jnp.dtype(f"uint{8 * w.dtype.itemsize}")
    always = jax.lax.bitcast_convert_type(w, kind) >= 0
    return jnp.where(always, leaf, jnp.zeros_like(leaf))


def _owners(
    leaves: dict[str, Any],
    shardings: dict[str, NamedSharding],
    kernels: Mapping[str, Kernel],
) -> Iterator[tuple[str, list[tuple[tuple[int, ...], NamedSharding]]]]:
    """The parameters with their shardings, and their layers if these are others."""
    for name, sharding in shardings.items():
        shape, kernel = jnp.shape(leaves[name]), kernels.get(name)
        whole = [(shape, sharding)]
        if kernel is None:
            yield name, whole
            continue
        layer = _layer(shape, sharding, kernel)
        yield name, whole if kernel.stack else [*whole, layer]
        for i in range(math.prod(shape[axis] for axis in kernel.stack)):
            yield f"{name}/{i}", [layer]


def _layer(
    shape: tuple[int, ...], sharding: NamedSharding, kernel: Kernel
) -> tuple[tuple[int, ...], NamedSharding]:
    """The shape and sharding of a layer, (*window, inputs, outputs)."""
    spec = _spec(sharding, len(shape))
    merged = [*((axis,) for axis in kernel.window), kernel.inputs, kernel.outputs]
    sizes = tuple(math.prod(shape[axis] for axis in axes) for axes in merged)
    names = [spec[axes[0]] if axes else None for axes in merged]
    return sizes, sharding.update(spec=PartitionSpec(*names))


def _spec(sharding: NamedSharding, ndim: int) -> tuple[Any, ...]:
    """The mesh axes that every axis of an array is split over."""
    return (*sharding.spec, *(None,) * (ndim - len(sharding.spec)))


def _owner(name: str, shape: tuple[int, ...], owners: _Owners) -> Any:
    """The shape of the parameter that a leaf belongs to, and what is known of it."""
    parts = name.split("/")
    for start in range(len(parts)):  # the longest ending first
        for own, value in owners.get("/".join(parts[start:]), ()):
            extra = len(shape) - len(own)
            if extra >= 0 and shape[extra:] == own:
                return own, value
    return None


def _sharding(name: str, leaf: Any, owners: _Owners, whole: NamedSharding) -> Any:
    """The sharding of a leaf of a state; of a packed mask, in its container."""
    found = _owner(name, leaf.shape, owners)
    if found is None:
        return PackedLeaf(whole, leaf.shape) if _is_packed(leaf) else whole
    own, sharding = found
    if _is_packed(leaf):
        fits = leaf.bits.ndim == len(own) and _divides(sharding, leaf.bits.shape)
        return PackedLeaf(sharding if fits else whole, leaf.shape)
    extra = (None,) * (len(leaf.shape) - len(own))
    return sharding.update(spec=PartitionSpec(*extra, *_spec(sharding, len(own))))


def _divides(sharding: NamedSharding, shape: tuple[int, ...]) -> bool:
    """Whether the devices can share an array of this shape equally."""
    try:
        sharding.shard_shape(shape)
    except ValueError:
        return False
    return True


def _is_packed(x: object) -> bool:
    return isinstance(x, PackedLeaf)
