"""Sums of products of JAX's sparse matrices: what is stored meets what is there."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jaxtyping import Array, Bool, Int

from dst_jax.cost.counting.linear_sums import LinearSums, gathered_sums, kept_sums
from dst_jax.jaxprs.product_operands import dot_numbers

__all__ = ["SPARSE_SUMS", "stored_mask"]


def stored_mask(eqn: core.JaxprEqn, operands: Sequence[Any]) -> Bool[Array, "..."]:
    """The positions of the nonzero entries of a product's sparse left operand.

    Args:
      eqn: `bcoo_dot_general` or `bcsr_dot_general`.
      operands: its operands.

    >>> import jax
    >>> from jax.experimental import sparse
    >>> x, w = sparse.BCOO.fromdense(jnp.eye(2)), jnp.ones((2, 3))
    >>> (eqn,) = jax.make_jaxpr(lambda x, w: x @ w)(x, w).eqns
    >>> stored_mask(eqn, [x.data, x.indices, w]).tolist()
    [[True, False], [False, True]]
    """
    data, shape = operands[0], eqn.params["lhs_spinfo"].shape
    indices = _indices(eqn, operands)
    entries = _stored(data != 0, indices, shape, range(len(shape)))
    return entries.reshape(shape) > 0


def _dot_general(eqn: core.JaxprEqn, operands: Sequence[Any]) -> LinearSums:
    """A sparse matrix times an array: BCOO or BCSR."""
    (contracted, rhs_contracted), (batch, rhs_batch) = dot_numbers(eqn)
    shape, rhs = eqn.params["lhs_spinfo"].shape, operands[-1]
    indices = _indices(eqn, operands)

    def left(x: Array) -> Array:
        return _stored(x, indices, shape, (*batch, *contracted))

    def right(x: Array) -> Array:
        return kept_sums(x, (*rhs_batch, *rhs_contracted))

    most = (_most(operands[0], indices, shape), rhs.size)
    return LinearSums(left, right, most, _dense(eqn, shape, rhs.shape))


def _spdot_general(eqn: core.JaxprEqn, operands: Sequence[Any]) -> LinearSums:
    """The product of two sparse matrices."""
    kept = [(*b, *c) for c, b in zip(*dot_numbers(eqn), strict=True)]
    shapes = [eqn.params[f"{side}_spinfo"].shape for side in ("lhs", "rhs")]

    def side(number: int) -> tuple[Callable[[Array], Array], int]:
        data, indices = operands[2 * number : 2 * number + 2]
        shape = shapes[number]
        most = _most(data, indices, shape)
        return lambda x: _stored(x, indices, shape, kept[number]), most

    (left, most_left), (right, most_right) = side(0), side(1)
    return LinearSums(left, right, (most_left, most_right), _dense(eqn, *shapes))


def _sampled(eqn: core.JaxprEqn, operands: Sequence[Any]) -> LinearSums:
    """The product of two arrays at stored positions of the result only."""
    lhs, rhs, indices = operands
    numbers = dot_numbers(eqn)
    free = [
        [i for i in range(x.ndim) if i not in (*contracted, *batch)]
        for x, contracted, batch in zip((lhs, rhs), *numbers, strict=True)
    ]
    batches, (rows, columns) = len(numbers[1][0]), map(len, free)
    shape = [lhs.shape[i] for i in (*numbers[1][0], *free[0])]
    shape += [rhs.shape[i] for i in free[1]]
    coordinates = _coordinates(indices, shape)

    def side(number: int, start: int, count: int) -> Callable[[Array], Array]:
        contracted, batch = numbers[0][number], numbers[1][number]
        at = (*coordinates[:batches], *coordinates[start : start + count])

        def taken(x: Array) -> Array:
            x = x.transpose(*batch, *free[number], *contracted)
            if at:
                x = x.at[tuple(at)].get(mode="fill", fill_value=0)
            return x.reshape(-1)

        return taken

    return LinearSums(
        side(0, batches, rows),
        side(1, batches + rows, columns),
        (1, 1),
        math.prod(shape) * math.prod(lhs.shape[i] for i in numbers[0][0]),
    )


SPARSE_SUMS: dict[str, Callable[[core.JaxprEqn, Sequence[Any]], LinearSums]] = {
    "bcoo_dot_general": _dot_general,
    "bcoo_dot_general_sampled": _sampled,
    "bcoo_spdot_general": _spdot_general,
    "bcsr_dot_general": _dot_general,
}
"""By name of a product, its sums."""


def _most(data: Array, indices: Array, shape: Sequence[int]) -> int:
    """The number of entries of a BCOO matrix: a batch axis of size 1 is repeated."""
    batch = indices.ndim - 2
    return math.prod((*shape[:batch], *data.shape[batch:]))


def _dense(eqn: core.JaxprEqn, lhs: Sequence[int], rhs: Sequence[int]) -> int:
    """The products of arrays of these shapes."""
    contracted, batch = (set(axes[1]) for axes in dot_numbers(eqn))
    free = [n for i, n in enumerate(rhs) if i not in contracted | batch]
    return math.prod(lhs) * math.prod(free)


def _indices(eqn: core.JaxprEqn, operands: Sequence[Any]) -> Int[Array, "..."]:
    """The indices (*batch, entry, axis) of a sparse left operand; BCSR as BCOO."""
    if eqn.primitive.name != "bcsr_dot_general":
        return operands[1]
    _, columns, starts, _ = operands
    entries = jnp.arange(columns.shape[-1])
    rows = jnp.vectorize(
        lambda starts: jnp.searchsorted(starts, entries, side="right") - 1,
        signature="(m)->(n)",
    )(starts)
    return jnp.stack([rows.astype(columns.dtype), columns], -1)


def _stored(
    x: Array, indices: Array, shape: Sequence[int], kept: Sequence[int]
) -> Array:
    """The sums of stored entries over all axes but `kept`, flat.

    Args:
      x: data of a BCOO matrix, of any dtype.
      indices: its indices; entries outside of the matrix fill up, and are left out.
      shape: its shape.
      kept: axes that remain, in order.
    """
    batch = indices.ndim - 2
    x = x.astype(jnp.uint32) if x.dtype == bool else x
    x = jnp.broadcast_to(x, (*shape[:batch], *x.shape[batch:]))
    sizes = shape[batch : batch + indices.shape[-1]]
    inside = jnp.ones(indices.shape[:-1], bool)
    for i, n in enumerate(sizes):
        inside &= (indices[..., i] >= 0) & (indices[..., i] < n)
    inside = lax.expand_dims(inside, range(batch + 1, x.ndim))
    x = jnp.where(inside, x, jnp.zeros((), x.dtype))
    coordinates = _coordinates(indices, shape)
    return gathered_sums(x, [coordinates[i] for i in kept], [shape[i] for i in kept])


def _coordinates(indices: Array, shape: Sequence[int]) -> list[Array]:
    """For every axis of a BCOO matrix, the coordinate of each element of its data.

    They broadcast against data of the shape (*batch, entry, *dense).
    """
    batch, sparse = indices.ndim - 2, indices.shape[-1]
    dense = len(shape) - batch - sparse
    rank = batch + 1 + dense
    found: list[Array] = []
    for i, n in enumerate(shape):
        if batch <= i < batch + sparse:
            entry = indices[..., i - batch]
            found.append(lax.expand_dims(entry, range(batch + 1, rank)))
        else:
            axis = i if i < batch else i - sparse + 1
            sizes = [n if j == axis else 1 for j in range(rank)]
            found.append(jnp.arange(n, dtype=indices.dtype).reshape(sizes))
    return found
