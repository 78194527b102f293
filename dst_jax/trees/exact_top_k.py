"""Exact top-k by bisection: no sort, no concatenation, ties by path order.

A float32 score maps to a uint32 that orders alike; the threshold is found bit by bit
by counting what is above it. Every pass reads the scores once and reduces to one
integer per group, so sharded scores stay where they are and every device finds the
same mask. Sorting 23.5 M scores takes about twenty times as long on a CPU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

__all__ = ["top_k", "top_k_along", "top_k_by_pairs", "top_k_of_groups"]

_MOST = 2**31 - 1


def top_k(scores: Any, k: Int[Array, ""] | int) -> Any:
    """A bool tree that is true on exactly `k` elements: the largest of all leaves.

    Ties go to the element that comes first in path order, so the result does not
    depend on the device. NaN ranks lowest.

    Args:
      scores: pytree of real arrays, compared in float32; `None` leaves stay `None`.
      k: number of elements to keep, clipped to `[0, count(scores)]`; may be traced.

    Raises:
      ValueError: there are more than 2^31 - 1 elements.

    >>> top_k({"a": jnp.array([3.0, 1.0]), "b": jnp.array([2.0])}, 2)["a"].tolist()
    [True, False]
    """
    leaves, treedef = jax.tree.flatten(scores)
    return jax.tree.unflatten(treedef, top_k_of_groups(leaves, [0] * len(leaves), [k]))


def top_k_of_groups(
    scores: Sequence[jax.typing.ArrayLike],
    groups: Sequence[int],
    kept: Sequence[jax.typing.ArrayLike],
    *,
    among: Sequence[jax.typing.ArrayLike] | None = None,
) -> list[Bool[Array, "..."]]:
    """The largest scores of every group of arrays, as many as it may keep.

    Args:
      scores: real arrays, compared in float32; NaN ranks lowest.
      groups: the group of every array, from 0.
      kept: number of elements to keep by group, clipped to the group's size.
      among: elements that may be kept; None = all. Where fewer may than should, all
        that may are kept.

    Returns:
      Bool arrays shaped like `scores`. Ties go to the element that comes first.

    Raises:
      ValueError: a group has more than 2^31 - 1 elements.

    >>> scores = [jnp.array([3.0, 1.0]), jnp.array([2.0, 4.0])]
    >>> [m.tolist() for m in top_k_of_groups(scores, [0, 0], [1])]
    [[False, False], [False, True]]
    """
    if not scores:
        return []
    arrays = [jnp.asarray(x) for x in scores]
    sizes = [0] * len(kept)
    for group, array in zip(groups, arrays, strict=True):
        sizes[group] += array.size
    if max(sizes) > _MOST:
        raise ValueError(
            f"at most {_MOST} elements can compete with each other, got {max(sizes)}"
        )
    k = jnp.stack([_clip(n, size) for n, size in zip(kept, sizes, strict=True)])
    allowed = None if among is None else [jnp.asarray(m) for m in among]
    return _top_k_leaves(arrays, allowed, tuple(groups), k)


@partial(jax.jit, static_argnames="axis")
def top_k_along(
    scores: Array,
    kept: Int[Array, "..."] | int,
    *,
    axis: int,
    among: Bool[Array, "..."] | None = None,
) -> Bool[Array, "..."]:
    """The `kept` largest scores of every line along an axis, ties to the first.

    Args:
      scores: float array.
      kept: number to keep, for all lines or one for each (`scores` without `axis`).
      axis: axis along which scores compete.
      among: elements that may be kept, shaped like `scores`; None = all.

    >>> top_k_along(jnp.array([[1.0, 3.0], [2.0, 2.0]]), 1, axis=1).tolist()
    [[False, True], [True, False]]
    """
    keys = _ordered(scores, among)
    length = scores.shape[axis]
    lines = scores.shape[: axis % scores.ndim] + scores.shape[axis % scores.ndim + 1 :]
    k = jnp.clip(jnp.broadcast_to(jnp.asarray(kept, jnp.int32), lines), 0, length)
    rank = jax.lax.broadcasted_iota(jnp.uint32, scores.shape, axis % scores.ndim)
    rank = jnp.uint32(max(length - 1, 0)) - rank

    def at_least(values: Array, among: Any, bound: Array) -> Array:
        reached = values >= jnp.expand_dims(bound, axis)
        return (reached & among).sum(axis, dtype=jnp.int32)

    bound = _allowed(_bisect(lambda c: at_least(keys, True, c), k))
    bound = jnp.expand_dims(bound, axis)
    tied = keys == bound
    room = k - (keys > bound).sum(axis, dtype=jnp.int32)
    last = _bisect(lambda c: at_least(rank, tied, c), room)
    return (keys > bound) | (tied & (rank >= jnp.expand_dims(last, axis)))


@partial(jax.jit, static_argnames="axis")
def top_k_by_pairs(
    scores: Array, k: Int[Array, ""] | int, *, axis: int
) -> Bool[Array, "..."]:
    """The `k` largest scores of every line along a short axis, ties to the first.

    It compares every pair of a line: for the groups of N:M patterns it is faster than
    `top_k_along`, whose result it has, and it fuses with what is around it.

    Args:
      scores: real array, compared in its own dtype; NaN ranks lowest.
      k: number to keep of every line; may be traced.
      axis: axis along which scores compete.

    >>> top_k_by_pairs(jnp.array([[1.0, 3.0], [2.0, 2.0]]), 1, axis=1).tolist()
    [[False, True], [True, False]]
    """
    scores, axis = jnp.where(jnp.isnan(scores), -jnp.inf, scores), axis % scores.ndim
    place = jax.lax.broadcasted_iota(jnp.int32, scores.shape, axis)
    better = jnp.zeros(scores.shape, jnp.int32)
    for j in range(scores.shape[axis]):
        other = jax.lax.slice_in_dim(scores, j, j + 1, axis=axis)
        ahead = (other > scores) | ((other == scores) & (j < place))
        better += ahead.astype(jnp.int32)
    return better < k


# Jitted: without a jit around it a loop is compiled anew at every call.
@partial(jax.jit, static_argnames="groups")
def _top_k_leaves(
    scores: list[Array],
    among: list[Array] | None,
    groups: tuple[int, ...],
    k: Int[Array, " groups"],
) -> list[Bool[Array, "..."]]:
    """`top_k` where leaf `i` competes in group `g = groups[i]` for `k[g]` places."""
    allowed = [None] * len(scores) if among is None else among
    keys = [_ordered(leaf, a) for leaf, a in zip(scores, allowed, strict=True)]
    ranks = _ranks(keys, groups)

    def per_group(counts: list[Array]) -> Int[Array, " groups"]:
        return jax.ops.segment_sum(
            jnp.stack(counts), jnp.array(groups), num_segments=k.size
        )

    def reached(bound: UInt32[Array, " groups"]) -> Int[Array, " groups"]:
        each = zip(keys, groups, strict=True)
        return per_group([_count(key >= bound[g]) for key, g in each])

    bound = _allowed(_bisect(reached, k))
    tied = [key == bound[g] for key, g in zip(keys, groups, strict=True)]
    above = [key > bound[g] for key, g in zip(keys, groups, strict=True)]
    room = k - per_group([_count(a) for a in above])

    def reached_tied(first: UInt32[Array, " groups"]) -> Int[Array, " groups"]:
        each = zip(tied, ranks, groups, strict=True)
        return per_group([_count(t & (rank >= first[g])) for t, rank, g in each])

    first = _bisect(reached_tied, room)
    each = zip(above, tied, ranks, groups, strict=True)
    return [a | (t & (rank >= first[g])) for a, t, rank, g in each]


def _bisect(
    reached: Callable[[UInt32[Array, "..."]], Int[Array, "..."]], k: Int[Array, "..."]
) -> UInt32[Array, "..."]:
    """The largest bound that at least `k` elements reach.

    `reached` counts them; it falls as the bound rises, and at the bound 0 all do. Stops
    as soon as the count is exactly `k` everywhere: any such bound selects the same.
    """

    def unfinished(state: tuple[Array, Array, Array]) -> Bool[Array, ""]:
        low, high, found = state
        return ((found != k) & (high - low > 1)).any()

    def halve(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        low, high, found = state
        middle = low + (high - low) // 2
        count = reached(middle)
        enough = (count >= k) & (found != k)
        return (
            jnp.where(enough, middle, low),
            jnp.where(enough, high, middle),
            jnp.where(enough, count, found),
        )

    low = jnp.zeros(k.shape, jnp.uint32)
    start = (low, jnp.full(k.shape, 2**32 - 1, jnp.uint32), reached(low))
    return jax.lax.while_loop(unfinished, halve, start)[0]


def _allowed(bound: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
    """A bound that nothing reaches which may not be kept: those keys are 0."""
    return jnp.maximum(bound, jnp.uint32(1))


def _ordered(scores: Array, among: Array | None) -> UInt32[Array, "..."]:
    """uint32 that order as the scores do; -0 equals 0, NaN is the least.

    What is not in `among` is 0, below everything else.
    """
    x = scores.astype(jnp.float32)
    x = jnp.where(jnp.isnan(x), -jnp.inf, jnp.where(x == 0, 0.0, x))
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    sign = jnp.uint32(1 << 31)
    keys = jnp.where(bits >= sign, ~bits, bits | sign)
    return keys if among is None else jnp.where(among, keys, jnp.uint32(0))


def _ranks(keys: list[Array], groups: tuple[int, ...]) -> list[UInt32[Array, "..."]]:
    """The place of every element in its group in path order, counted from the end."""
    left = dict.fromkeys(groups, 0)
    for key, group in zip(keys, groups, strict=True):
        left[group] += key.size
    ranks = []
    for key, group in zip(keys, groups, strict=True):
        place = _places(key.shape)
        ranks.append(jnp.uint32(max(left[group] - 1, 0)) - place)
        left[group] -= key.size
    return ranks


def _places(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """The place of every element in the flattened array, without a reshape.

    Reshaped, it would be whole on every device that has a part of the array.
    """
    place, step = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        place += jnp.uint32(step) * jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        step *= shape[axis]
    return place


def _clip(k: Any, size: int) -> Int[Array, ""]:
    """`k` in [0, size], int32; a Python integer may be larger than an int32."""
    if isinstance(k, int):
        return jnp.int32(min(max(k, 0), size))
    return jnp.clip(jnp.asarray(k, jnp.int32), 0, size)


def _count(x: Bool[Array, "..."]) -> Int[Array, ""]:
    return x.sum(dtype=jnp.int32)
