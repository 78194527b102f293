"""Activation maps from what a library itself collected."""

from collections import OrderedDict
from typing import Any

import jax
from jaxtyping import Array

from dst_jax import trees
from dst_jax.jaxprs.traced_function import is_array

__all__ = ["maps_of"]


def maps_of(sown: Any, *, batch: int | None = None) -> OrderedDict[str, Array]:
    """The activation maps in what `sow` collected, by path.

    NNX's `nnx.capture(model, nnx.Intermediate)` and Linen's `mutable="intermediates"`
    give tuples, one entry for each call of `sow`. A dict that a function returns, as
    Equinox modules do, is fine as well.

    Args:
      sown: pytree of arrays (batch, ...), or of tuples of these.
      batch: number of examples. Without it, all maps must have one leading axis.

    Returns:
      Maps by path, such as `blocks/0/relu`; where a path was sown several times
      `blocks/0/relu/0`, `blocks/0/relu/1`.

    Raises:
      ValueError: nothing was sown; or the leading axis of a map is not the batch, as
        where `nnx.scan` or `nnx.vmap` stack the maps of layers: `tap` and `collect`
        take these apart.

    >>> import jax.numpy as jnp
    >>> sown = {"block": {"relu": (jnp.ones((2, 3)),)}, "fc": jnp.ones((2, 5))}
    >>> {name: x.shape for name, x in maps_of(sown).items()}
    {'block/relu': (2, 3), 'fc': (2, 5)}
    """
    found = jax.tree_util.tree_leaves_with_path(sown, is_leaf=_is_sown)
    maps: OrderedDict[str, Array] = OrderedDict()
    for path, leaf in found:
        name = trees.path_name(path)
        several = leaf if _is_sown(leaf) else (leaf,)
        for i, x in enumerate(several):
            number = [str(i)] if len(several) > 1 else []
            maps["/".join([*filter(None, [name]), *number])] = x
    if not maps:
        raise ValueError(
            "sown must hold activation maps, got none: the network sows nothing of the"
            " kind that was collected"
        )
    first, map_of_first = next(iter(maps.items()))
    expected, other = map_of_first.shape[:1], f"{map_of_first.shape} of {first!r}"
    if batch is not None:
        expected, other = (batch,), f"batch={batch}"
    for name, x in maps.items():
        if not x.ndim or x.shape[:1] != expected:
            raise ValueError(
                f"the first axis of every map must be the batch, got {x.shape} of"
                f" {name!r} next to {other}: maps of layers that nnx.scan or nnx.vmap"
                " stack are taken apart by activations.tap and activations.collect"
            )
    return maps


def _is_sown(leaf: Any) -> bool:
    """Whether a leaf is a tuple of arrays, as `sow` makes them."""
    return type(leaf) is tuple and bool(leaf) and all(map(is_array, leaf))
