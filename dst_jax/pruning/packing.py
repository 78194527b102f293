"""Bit-packed masks: eight weights to a byte.

They are packed along one axis of a leaf, so that packing a leaf whose axes are split
over devices moves nothing between them, as long as eight neighbours are on one device.
A leaf without an axis that eight divides is packed flat.
"""

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
    """uint8, with the leaf's axes or flat; while JAX transforms the tree, whatever
    stands in for it."""
    shape: tuple[int, ...] = field(metadata={"static": True})


def pack(mask: Mask) -> Any:
    """A mask with every leaf packed to bits; `None` stays `None`.

    Args:
      mask: pytree of bool arrays.

    >>> pack({"w": jnp.ones((3, 5), bool)})["w"].bits.tolist()
    [255, 254]
    """
    return jax.tree.map(lambda m: PackedLeaf(_pack(m), m.shape), mask)


def unpack(mask: Any) -> Mask:
    """The bool mask of a packed one; leaves that are not packed stay as they are.

    Args:
      mask: pytree of `PackedLeaf`s and bool arrays.

    >>> mask = {"w": jnp.array([[True, False], [True, True]]), "b": None}
    >>> unpack(pack(mask))["w"].tolist()
    [[True, False], [True, True]]
    """
    return jax.tree.map(_unpack, mask, is_leaf=lambda x: isinstance(x, PackedLeaf))


def _axis(shape: tuple[int, ...]) -> int | None:
    """The axis with the largest power of two in its length; None if 8 divides none."""
    powers = [n & -n for n in shape]  # the largest power of two that divides n
    best = max(powers, default=0)
    return powers.index(best) if best >= 8 else None


def _pack(mask: Any) -> Any:
    axis = _axis(mask.shape)
    return jnp.packbits(mask.ravel()) if axis is None else jnp.packbits(mask, axis)


def _unpack(leaf: Any) -> Any:
    if not isinstance(leaf, PackedLeaf):
        return leaf
    axis = _axis(leaf.shape)
    if axis is not None:
        return jnp.unpackbits(leaf.bits, axis).astype(bool)
    size = math.prod(leaf.shape)
    return jnp.unpackbits(leaf.bits, count=size).reshape(leaf.shape).astype(bool)
