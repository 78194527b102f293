"""What meshes with Explicit axes need, and whether an array is on one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from dst_jax import trees
from dst_jax.typing import Params, is_traced

__all__ = ["abstract", "in_place", "known", "like_inputs", "reduced"]


def known(leaves: dict[str, Any], *, explicit: bool = False) -> dict[str, Any]:
    """The shardings over devices that leaves have, or their types say.

    Args:
      leaves: leaves by path.
      explicit: whether only those over Explicit axes are asked for.

    >>> known({"w": jnp.ones(1)})
    {}
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
    if not known(trees.named_leaves(params), explicit=True):
        return update(updates, state, params, **extra_args)
    shardings = jax.tree.map(lambda x: jax.typeof(x).sharding, (updates, state))
    arrays = {k: v for k, v in extra_args.items() if _is_of_arrays(v)}
    others = {k: v for k, v in extra_args.items() if k not in arrays}

    def call(updates: Any, state: Any, params: Any, arrays: Any) -> tuple[Any, Any]:
        return update(updates, state, params, **arrays, **others)

    return in_place(call, shardings)(updates, state, params, arrays)


def reduced(fn: Callable[[Any], Any], tree: Any) -> Any:
    """`fn(tree)`, small enough to be whole on every device, on any axes.

    Args:
      fn: function of a tree of arrays.
      tree: pytree of arrays.

    >>> reduced(lambda tree: tree["w"].any(), {"w": jnp.array([False, True])})
    Array(True, dtype=bool)
    """
    found = known(trees.named_leaves(tree), explicit=True)
    if not found:
        return fn(tree)
    whole = next(iter(found.values())).update(spec=PartitionSpec())
    shapes = jax.eval_shape(fn, jax.tree.map(abstract, tree))
    made = in_place(fn, jax.tree.map(lambda _: whole, shapes))
    return (
        made(tree)
        if any(map(is_traced, jax.tree.leaves(tree)))
        else jax.jit(made)(tree)
    )


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


def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    """The shape and dtype of an array, without where it is.

    >>> abstract(jnp.ones(2))
    ShapeDtypeStruct(shape=(2,), dtype=float32)
    """
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))


def _is_explicit(sharding: NamedSharding) -> bool:
    return AxisType.Explicit in sharding.mesh.axis_types


def _is_of_arrays(tree: Any) -> bool:
    return all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(tree))
