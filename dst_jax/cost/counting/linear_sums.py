"""Products whose zeros meet by index: each operand as sums that are linear in it.

As in `factors`, both operands of a product are summed to one number for every group g
and contracted index c at which they meet, and

    products = sum_gc  L[g, c] * R[g, c].

Where group sizes or stored indices decide what meets, L and R are linear functions of
the operands' values: of indicators of nonzeros they give exact counts, of ones the
products that are stored, of smooth indicators a smooth count.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped

__all__ = ["LinearSums", "gathered_sums", "kept_sums"]

Sums = Callable[[Array], Array]


class LinearSums(NamedTuple):
    """What both operands are summed to where they meet.

    Attributes:
      lhs, rhs: functions of arrays shaped like the values of an operand, linear and of
        any dtype; their results have one size.
      most: bounds of the sums of ones, of the left and of the right operand.
      dense: number of all products of operands without zeros, stored in full.
    """

    lhs: Sums
    rhs: Sums
    most: tuple[int, int]
    dense: int


def kept_sums(x: Shaped[Array, "..."], axes: Sequence[int]) -> Shaped[Array, " kept"]:
    """The sums over all axes but `axes`, flat, in the order of `axes`.

    >>> kept_sums(jnp.array([[1, 2], [3, 4]]), [1]).tolist()
    [4, 6]
    """
    others = [i for i in range(x.ndim) if i not in axes]
    return (
        x.transpose(*axes, *others)
        .reshape(math.prod(x.shape[i] for i in axes), -1)
        .sum(1, dtype=x.dtype)
    )


def gathered_sums(
    x: Shaped[Array, "..."], coordinates: Sequence[Int[Array, "..."]], shape: list[int]
) -> Shaped[Array, " size"]:
    """The sums of elements that have the same coordinates, flat.

    Args:
      x: values.
      coordinates: for every axis of `shape`, the coordinate of each element; they
        broadcast against `x`.
      shape: sizes of the axes; an element that is outside of them is left out.

    Raises:
      ValueError: the axes have 2^31 elements or more.

    >>> values, rows = jnp.array([1, 2, 4, 8]), jnp.array([0, 1, 0, 2])
    >>> gathered_sums(values, [rows], [2]).tolist()
    [5, 2]
    """
    size = math.prod(shape)
    if size >= 1 << 31:
        raise ValueError(
            f"cost.count sums a sparse operand into fewer than 2^31 places, got {shape}"
        )
    flat, inside = jnp.zeros((), jnp.int32), jnp.ones((), bool)
    for coordinate, n in zip(coordinates, shape, strict=True):
        flat = flat * n + jnp.clip(coordinate, 0, n - 1).astype(jnp.int32)
        inside &= (coordinate >= 0) & (coordinate < n)
    flat = jnp.broadcast_to(jnp.where(inside, flat, size), x.shape)
    return jax.ops.segment_sum(x.ravel(), flat.ravel(), num_segments=size)
