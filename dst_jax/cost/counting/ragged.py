"""Sums of `ragged_dot_general`: group sizes are data, so rows find their group."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.typing import ArrayLike
from jaxtyping import Array, Int

from dst_jax.cost.counting.linear_sums import LinearSums, gathered_sums, kept_sums
from dst_jax.jaxprs.product_operands import dot_numbers

__all__ = ["ragged_sums"]


class _Ragged(NamedTuple):
    """Axes of a ragged product, and the group of every position along the ragged one.

    Attributes:
      contracted, batch: axes of the left operand.
      prefix: axes of the left operand by which the group sizes differ.
      axis: ragged axis of the left operand.
      groups: number of groups.
      group: group of a position (*prefix, position); `groups` past the last one.
    """

    contracted: tuple[int, ...]
    batch: tuple[int, ...]
    prefix: tuple[int, ...]
    axis: int
    groups: int
    group: Int[Array, "..."]


def ragged_sums(eqn: core.JaxprEqn, operands: Sequence[Any]) -> LinearSums:
    """The sums of a product in groups of rows, or of contracted elements.

    Rows past the last group meet nothing: they are products of `dense`, but not of
    `valid`. Where the groups are parts of the batch, JAX multiplies all of it.

    Args:
      eqn: `ragged_dot_general`, which `jax.lax.ragged_dot` and its derivatives are.
      operands: left operand, right operand, and group sizes.

    >>> import jax
    >>> x, w, sizes = jnp.ones((4, 2)), jnp.ones((2, 2, 3)), jnp.array([1, 2])
    >>> (eqn,) = jax.make_jaxpr(jax.lax.ragged_dot)(x, w, sizes).eqns
    >>> sums = ragged_sums(eqn, [x, w, sizes])
    >>> sums.lhs(x).tolist(), sums.rhs(w).tolist(), sums.dense
    ([1.0, 1.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0], 24)
    """
    lhs, rhs, sizes = operands
    (contracted, rhs_contracted), (batch, rhs_batch) = dot_numbers(eqn)
    numbers = eqn.params["ragged_dot_dimension_numbers"]
    ragged = _ragged(lhs.shape, sizes, contracted, batch, numbers)
    products = math.prod(
        n for i, n in enumerate(rhs.shape) if i not in numbers.rhs_group_dimensions
    )
    free = [
        n for i, n in enumerate(lhs.shape) if i not in contracted and i not in batch
    ]

    def right(x: Array) -> Array:
        groups = map(int, numbers.rhs_group_dimensions)  # NumPy's under vmap
        kept = (*rhs_batch, *groups, *rhs_contracted)
        return kept_sums(x, kept)

    def left(x: Array) -> Array:
        if ragged.axis in batch:
            return kept_sums(x, (*batch, *contracted))
        if ragged.axis in contracted:
            inside = _along(ragged, ragged.group < ragged.groups, x.ndim)
            return kept_sums(x * inside.astype(x.dtype), (*batch, *contracted))
        return _by_group(x, ragged)

    most = (lhs.size, rhs.size)
    return LinearSums(left, right, most, products * math.prod(free))


def _ragged(
    shape: Sequence[int],
    sizes: ArrayLike,
    contracted: tuple[int, ...],
    batch: tuple[int, ...],
    numbers: Any,
) -> _Ragged:
    sizes = jnp.asarray(sizes)  # JAX has literals that are no arrays
    axis = int(numbers.lhs_ragged_dimensions[0])  # NumPy's under vmap
    free = tuple(i for i in range(len(shape)) if i not in (*contracted, *batch))
    if axis in free:
        prefix = (*batch, *free[: free.index(axis)])
    elif axis in contracted:
        prefix = (*batch, *contracted[: contracted.index(axis)])
    else:
        prefix = batch[: batch.index(axis)]
    if sizes.ndim == 1:
        shared = (*(shape[i] for i in prefix), sizes.shape[0])
        sizes = jnp.broadcast_to(sizes, shared)
    ends = jnp.cumsum(sizes, -1)[..., None, :]
    position = lax.broadcasted_iota(
        ends.dtype, (*ends.shape[:-2], shape[axis], 1), ends.ndim - 2
    )
    group = (position >= ends).sum(-1)
    return _Ragged(contracted, batch, prefix, axis, sizes.shape[-1], group)


def _along(ragged: _Ragged, x: Array, rank: int) -> Array:
    """An array of (*prefix, position), shaped to broadcast with the left operand."""
    return _spread(x, (*ragged.prefix, ragged.axis), rank)


def _spread(x: Array, axes: Sequence[int], rank: int) -> Array:
    """An array whose axes are `axes` of one of `rank` axes, with axes of size 1."""
    order = sorted(range(len(axes)), key=lambda i: axes[i])
    x = x.transpose(order)
    return lax.expand_dims(x, [i for i in range(rank) if i not in axes])


def _by_group(x: Array, ragged: _Ragged) -> Array:
    """The sums in (batch, group, contracted), of the free axes those of each group."""
    kept = (*ragged.batch, *ragged.contracted)
    where = {axis: lax.broadcasted_iota(jnp.int32, x.shape, axis) for axis in kept}
    coordinates = [
        *(where[axis] for axis in ragged.batch),
        _along(ragged, ragged.group, x.ndim),
        *(where[axis] for axis in ragged.contracted),
    ]
    sizes = [x.shape[axis] for axis in ragged.batch]
    contracted = [x.shape[axis] for axis in ragged.contracted]
    return gathered_sums(x, coordinates, [*sizes, ragged.groups, *contracted])
