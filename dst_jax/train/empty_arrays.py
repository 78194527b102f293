"""Arrays without elements in checkpoints, which Orbax does not write.

Where a branch of a network has vanished, its parameters have an axis of length 0. Such
an array is replaced by its shape, under a name that has its dtype.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["packed", "unpacked"]

_PREFIX = "empty_"


def packed(tree: Any) -> Any:
    """A tree with `{"empty_DTYPE": shape}` in place of arrays without elements.

    Args:
      tree: any pytree of arrays, or of their shapes and dtypes.

    >>> tree = packed({"w": jnp.zeros((3, 0)), "b": jnp.ones(2)})
    >>> tree["w"]["empty_float32"].tolist(), tree["b"].shape
    ([3, 0], (2,))
    """

    def pack(leaf: Any) -> Any:
        if 0 not in getattr(leaf, "shape", ()):
            return leaf
        name = f"{_PREFIX}{leaf.dtype}"
        shape = np.array(leaf.shape, np.int32)
        sharding = getattr(leaf, "sharding", None)
        if isinstance(leaf, jax.ShapeDtypeStruct):
            found = jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)
            return {name: found}
        return {name: jax.device_put(shape, sharding)}

    return jax.tree.map(pack, tree)


def unpacked(tree: Any) -> Any:
    """The tree of which `packed` made this one.

    Args:
      tree: what was restored from a checkpoint.

    >>> unpacked(packed({"w": jnp.zeros((3, 0))}))["w"].shape
    (3, 0)
    """

    def unpack(leaf: Any) -> Any:
        if not _is_packed(leaf):
            return leaf
        ((name, shape),) = leaf.items()
        sharding = getattr(shape, "sharding", None)
        empty = jnp.zeros(tuple(np.asarray(shape).tolist()), name[len(_PREFIX) :])
        return jax.device_put(empty, sharding)

    return jax.tree.map(unpack, tree, is_leaf=_is_packed)


def _is_packed(node: Any) -> bool:
    return (
        isinstance(node, dict)
        and len(node) == 1
        and str(next(iter(node))).startswith(_PREFIX)
    )
