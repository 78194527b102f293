"""States whose masks and memory have the shardings of the parameters they belong to.

What is made of shapes alone (zeros, random numbers) knows nothing of where the
parameters are: JAX puts it on one device, or on every device whole.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array

from dst_jax import trees
from dst_jax.kernels import Kernel
from dst_jax.pruning.packing import PackedLeaf
from dst_jax.typing import Mask, Params, is_traced

__all__ = [
    "abstract",
    "in_place",
    "like_inputs",
    "like_params",
    "placed",
    "reduced",
    "tied",
]

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
    known = _known(leaves)
    if not known:
        return tied(build(params, *args), params)
    owners = dict(_owners(leaves, known, kernels or {}))
    whole = next(iter(known.values())).update(spec=PartitionSpec())
    shardings = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _sharding(trees.path_name(path), leaf, owners, whole),
        jax.eval_shape(build, *jax.tree.map(abstract, (params, *args))),
        is_leaf=_is_packed,
    )
    made = in_place(build, shardings)
    if not any(map(is_traced, leaves.values())):
        made = jax.jit(made, out_shardings=shardings)
    return made(params, *args)


def like_inputs(
    update: Callable[..., tuple[Any, Any]],
    updates: Any,
    state: Any,
    params: Params,
    **extra_args: Any,
) -> tuple[Any, Any]:
    """`update(updates, state, params)`, whose results are sharded as what they replace.

    Only where the axes of a mesh are Explicit; elsewhere the compiler sees to it.

    Args:
      update: function that returns new updates and a new state.
      updates: updates, shaped like `params`.
      state: state before the update.
      params: pytree of arrays.
      **extra_args: further arguments of `update`.

    >>> like_inputs(lambda u, s, p: (u, s), 1.0, (), 2.0)
    (1.0, ())
    """
    if not _known(trees.named_leaves(params), explicit=True):
        return update(updates, state, params, **extra_args)
    shardings = jax.tree.map(lambda x: jax.typeof(x).sharding, (updates, state))
    arrays = {k: v for k, v in extra_args.items() if _is_of_arrays(v)}
    others = {k: v for k, v in extra_args.items() if k not in arrays}

    def call(updates: Any, state: Any, params: Any, arrays: Any) -> tuple[Any, Any]:
        return update(updates, state, params, **arrays, **others)

    return in_place(call, shardings)(updates, state, params, arrays)


def in_place(fn: Callable[..., Any], shardings: Any) -> Callable[..., Any]:
    """`fn` with results of these shardings, where the axes of a mesh are Explicit.

    Inside, the compiler shards what is computed, as it does on Auto axes: the choice of
    weights takes reshapes and comparisons that JAX's own rules refuse.

    Args:
      fn: function of arrays.
      shardings: tree of shardings shaped like its result.

    >>> whole = NamedSharding(jax.make_mesh((1,), ("data",)), PartitionSpec())
    >>> in_place(jnp.sin, whole)(jnp.zeros(()))
    Array(0., dtype=float32)
    """
    if not any(map(_is_explicit, jax.tree.leaves(shardings))):
        return fn
    return jax.sharding.auto_axes(fn, out_sharding=shardings)


def reduced(fn: Callable[[Any], Any], tree: Any) -> Any:
    """`fn(tree)`, small enough to be whole on every device, on any axes.

    Args:
      fn: function of a tree of arrays.
      tree: pytree of arrays.

    >>> reduced(lambda tree: tree["w"].any(), {"w": jnp.array([False, True])})
    Array(True, dtype=bool)
    """
    known = _known(trees.named_leaves(tree), explicit=True)
    if not known:
        return fn(tree)
    whole = next(iter(known.values())).update(spec=PartitionSpec())
    shapes = jax.eval_shape(fn, jax.tree.map(abstract, tree))
    made = in_place(fn, jax.tree.map(lambda _: whole, shapes))
    return (
        made(tree)
        if any(map(is_traced, jax.tree.leaves(tree)))
        else jax.jit(made)(tree)
    )


def placed(tree: Mask, params: Params) -> Mask:
    """A tree shaped like the parameters, each leaf on the devices of its parameter.

    Args:
      tree: pytree of arrays, `None` where a parameter has none.
      params: pytree of arrays with the same path names.

    >>> placed({"w": jnp.array([True])}, {"w": jnp.ones(1)})
    {'w': Array([ True], dtype=bool)}
    """
    leaves = trees.named_leaves(params)
    known = {} if any(map(is_traced, leaves.values())) else _known(leaves)

    def put(name: str, leaf: Any) -> Any:
        there = name not in known or is_traced(leaf)
        return leaf if there else jax.device_put(leaf, known[name])

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


def _known(leaves: dict[str, Any], *, explicit: bool = False) -> dict[str, Any]:
    """The shardings over devices that leaves have, or their types say.

    Args:
      leaves: leaves by path.
      explicit: whether only those over Explicit axes are asked for.
    """
    found = {}
    for name, leaf in leaves.items():
        traced = is_traced(leaf)
        sharding = getattr(jax.typeof(leaf) if traced else leaf, "sharding", None)
        if not isinstance(sharding, NamedSharding) or sharding.mesh.size == 1:
            continue
        if _is_explicit(sharding) or not (explicit or traced):
            found[name] = sharding
    return found


def _is_explicit(sharding: NamedSharding) -> bool:
    return AxisType.Explicit in sharding.mesh.axis_types


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
        for own, known in owners.get("/".join(parts[start:]), ()):
            extra = len(shape) - len(own)
            if extra >= 0 and shape[extra:] == own:
                return own, known
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


def _is_of_arrays(tree: Any) -> bool:
    return all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree))


def _is_packed(x: object) -> bool:
    return isinstance(x, PackedLeaf)


def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array, without where it is.

    >>> abstract(jnp.ones(2))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))
