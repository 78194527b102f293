"""Bit-packed masks: eight weights to a byte, along the flattened leaf."""

import math
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax.typing import Mask

__all__ = ["PackedLeaf", "pack", "unpack"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PackedLeaf:
    """The mask of one leaf in `ceil(size / 8)` bytes; the last bits may be padding."""

    bits: Any
    """uint8; while JAX transforms the tree, whatever stands in for it."""
    shape: tuple[int, ...] = field(metadata={"static": True})


def pack(mask: Mask) -> Any:
    """A mask with every leaf packed to bits; `None` stays `None`.

    Args:
      mask: pytree of bool arrays.

    >>> pack({"w": jnp.ones((3, 5), bool)})["w"].bits.tolist()
    [255, 254]
    """
    return jax.tree.map(lambda m: PackedLeaf(jnp.packbits(m.ravel()), m.shape), mask)


def unpack(mask: Any) -> Mask:
    """The bool mask of a packed one; leaves that are not packed stay as they are.

    Args:
      mask: pytree of `PackedLeaf`s and bool arrays.

    >>> mask = {"w": jnp.array([[True, False], [True, True]]), "b": None}
    >>> unpack(pack(mask))["w"].tolist()
    [[True, False], [True, True]]
    """
    return jax.tree.map(_unpack, mask, is_leaf=lambda x: isinstance(x, PackedLeaf))


def _unpack(leaf: Any) -> Any:
    if not isinstance(leaf, PackedLeaf):
        return leaf
    size = math.prod(leaf.shape)
    return jnp.unpackbits(leaf.bits, count=size).reshape(leaf.shape).astype(bool)
