"""Distinct rows of whole numbers, and a function evaluated once for each of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Int

__all__ = ["DistinctRows", "at_distinct", "distinct_rows"]


class DistinctRows(NamedTuple):
    """The kinds into which equal rows fall, of n rows.

    Attributes:
      first: index of a row of each kind, in the first `number` elements.
      kind: for every row, the place of its kind in `first`.
      number: number of kinds.
    """

    first: Int[Array, " n"]
    kind: Int[Array, " n"]
    number: Int[Array, ""]


def distinct_rows(columns: Sequence[Int[Array, " n"]]) -> DistinctRows:
    """The rows of a matrix of whole numbers, by which of them are equal.

    Args:
      columns: columns of the matrix, which has at least one row.

    >>> found = distinct_rows([jnp.array([7, 5, 7, 5]), jnp.array([1, 1, 1, 2])])
    >>> found.kind.tolist(), found.number.item()  # in the order of the columns
    ([2, 0, 2, 1], 3)
    >>> found.first[:3].tolist()
    [1, 3, 0]
    """
    (size,) = columns[0].shape
    places = jnp.arange(size, dtype=jnp.int32)
    *ordered, order = lax.sort([*columns, places], num_keys=len(columns))
    new = jnp.zeros(size - 1, bool)
    for column in ordered:
        new |= column[1:] != column[:-1]
    kinds = jnp.cumsum(jnp.pad(new, (1, 0)), dtype=jnp.int32)
    return DistinctRows(
        # Of equal rows the one that comes first.
        first=jnp.zeros_like(places).at[kinds[::-1]].set(order[::-1]),
        kind=jnp.zeros_like(places).at[order].set(kinds),
        number=kinds[-1] + 1,
    )


def at_distinct(
    fn: Callable[[Int[Array, ""]], Any], rows: DistinctRows, *, batch_size: int
) -> Any:
    """The results of a function at one row of every kind.

    The number of kinds is not known when the function is traced. So there is room for
    as many as there are rows; batches past the last kind are passed over. A loop of
    that many steps would have no gradient in reverse mode, and this has one.

    Args:
      fn: function of the index of a row; returns a pytree of arrays.
      rows: the rows.
      batch_size: number of kinds at a time.

    Returns:
      The results with a leading axis over kinds, as long as there are rows. What comes
      after the last kind means nothing.

    >>> parity = distinct_rows([jnp.arange(6) % 2])
    >>> at_distinct(lambda i: 10 * i, parity, batch_size=1).tolist()
    [0, 10, 0, 0, 0, 0]
    """
    size = len(rows.first)
    batches = -(-size // batch_size)
    # Blocks of batches: most of what comes after the last is passed over at once.
    inner = math.isqrt(batches - 1) + 1
    outer = -(-batches // inner)
    shape = outer, inner, batch_size
    first = jnp.pad(rows.first, (0, math.prod(shape) - size)).reshape(shape)
    start = jnp.arange(0, math.prod(shape), batch_size, dtype=jnp.int32)
    many = jax.vmap(fn)

    def batch(at: tuple[Array, Array]) -> Any:
        return _if_any(at[0] < rows.number, many, at[1])

    def block(at: tuple[Array, Array]) -> Any:
        return _if_any(at[0][0] < rows.number, lambda x: lax.map(batch, x), at)

    found = lax.map(block, (start.reshape(shape[:2]), first))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[3:])[:size], found)


def _if_any(wanted: Any, fn: Callable[[Any], Any], x: Any) -> Any:
    """What a function returns if it is wanted, or zeros."""
    shapes = jax.eval_shape(fn, x)

    def nothing(_: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    return lax.cond(wanted, fn, nothing, x)
