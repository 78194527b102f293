"""Exact top-k by bisection: no sort, no concatenation, ties by path order.

A float32 score maps to a uint32 that orders alike; the threshold is found bit by bit
by counting what lies above it. Every pass reads the scores once and reduces to one
integer per group, so sharded scores stay where they are and every device finds the
same mask. Sorting 23.5 M scores takes about twenty times as long on a CPU.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt32

from dst_jax import trees
from dst_jax.typing import Mask, Params

__all__ = ["JOINT", "Count", "Counts", "top_k", "top_k_along"]

Count = int | Int[Array, ""]
Counts = Mapping[str, Count]
"""How many weights to keep: by layer, and in `JOINT` for all other layers together."""
JOINT = ""


def top_k(scores: Params, kept: Counts) -> Mask:
    """The largest scores of every layer, or of several layers together.

    Ties go to the element that comes first in path order; NaN ranks lowest.

    Args:
      scores: pytree of float arrays; `None` leaves stay `None`.
      kept: how many to keep by path name, may be traced; a layer it does not name
        competes with the others of its kind for `kept[JOINT]` places.

    Returns:
      A bool tree shaped like `scores`.

    Raises:
      ValueError: a layer is not named and there is no `JOINT`.

    >>> scores = {"a": jnp.array([3.0, 1.0]), "b": jnp.array([2.0, 4.0])}
    >>> top_k(scores, {"a": 1, "b": 2})["b"].tolist()
    [True, True]
    >>> top_k(scores, {JOINT: 1})["b"].tolist()
    [False, True]
    """
    named = trees.named_leaves(scores)
    if not named:
        return scores
    groups = [name if name in kept else JOINT for name in named]
    missing = [name for name in named if name not in kept]
    if missing and JOINT not in kept:
        raise ValueError(f"kept must name every layer or hold {JOINT!r}: {missing}")
    order = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    sizes = dict.fromkeys(order, 0)
    for group, leaf in zip(groups, named.values(), strict=True):
        sizes[group] += leaf.size
    clipped = [jnp.clip(jnp.asarray(kept[g], jnp.int32), 0, sizes[g]) for g in order]
    of_leaf = tuple(order[group] for group in groups)
    masks = _top_k_leaves(list(named.values()), of_leaf, jnp.stack(clipped))
    chosen = iter(masks)
    return jax.tree.map(lambda _: next(chosen), scores)


@partial(jax.jit, static_argnames="axis")
def top_k_along(
    scores: Array, kept: Int[Array, "..."] | int, *, axis: int
) -> Bool[Array, "..."]:
    """The `kept` largest scores of every line along an axis, ties to the first.

    Args:
      scores: float array.
      kept: how many, for all lines or one number for each (`scores` without `axis`).
      axis: the axis along which scores compete.

    >>> top_k_along(jnp.array([[1.0, 3.0], [2.0, 2.0]]), 1, axis=1).tolist()
    [[False, True], [True, False]]
    """
    keys = _ordered(scores)
    length = scores.shape[axis]
    lines = scores.shape[: axis % scores.ndim] + scores.shape[axis % scores.ndim + 1 :]
    k = jnp.clip(jnp.broadcast_to(jnp.asarray(kept, jnp.int32), lines), 0, length)
    rank = jax.lax.broadcasted_iota(jnp.uint32, scores.shape, axis % scores.ndim)
    rank = jnp.uint32(length - 1) - rank

    def at_least(values: Array, among: Any, bound: Array) -> Array:
        reached = values >= jnp.expand_dims(bound, axis)
        return (reached & among).sum(axis, dtype=jnp.int32)

    bound = _bisect(lambda c: at_least(keys, True, c), k)
    bound = jnp.expand_dims(bound, axis)
    tied = keys == bound
    room = k - (keys > bound).sum(axis, dtype=jnp.int32)
    last = _bisect(lambda c: at_least(rank, tied, c), room)
    return (keys > bound) | (tied & (rank >= jnp.expand_dims(last, axis)))


# Jitted: without a jit around it a loop is compiled anew at every call.
@partial(jax.jit, static_argnames="groups")
def _top_k_leaves(
    scores: list[Array], groups: tuple[int, ...], k: Int[Array, " groups"]
) -> list[Bool[Array, "..."]]:
    """`top_k` where leaf `i` competes in group `g = groups[i]` for `k[g]` places."""
    keys = [_ordered(leaf) for leaf in scores]
    total = sum(key.size for key in keys)
    ranks = _ranks(keys, total)

    def per_group(counts: list[Array]) -> Int[Array, " groups"]:
        return jax.ops.segment_sum(
            jnp.stack(counts), jnp.array(groups), num_segments=k.size
        )

    def reached(bound: UInt32[Array, " groups"]) -> Int[Array, " groups"]:
        each = zip(keys, groups, strict=True)
        return per_group([_count(key >= bound[g]) for key, g in each])

    bound = _bisect(reached, k)
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


def _ordered(scores: Array) -> UInt32[Array, "..."]:
    """uint32 that order as the scores do; -0 equals 0, NaN is the least."""
    x = scores.astype(jnp.float32)
    x = jnp.where(jnp.isnan(x), -jnp.inf, jnp.where(x == 0, 0.0, x))
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32)
    sign = jnp.uint32(1 << 31)
    return jnp.where(bits >= sign, ~bits, bits | sign)


def _ranks(keys: list[Array], total: int) -> list[UInt32[Array, "..."]]:
    """The place of every element in path order, counted from the end."""
    ranks, before = [], 0
    for key in keys:
        place = jax.lax.iota(jnp.uint32, key.size).reshape(key.shape)
        ranks.append(jnp.uint32(total - 1 - before) - place)
        before += key.size
    return ranks


def _count(x: Bool[Array, "..."]) -> Int[Array, ""]:
    return x.sum(dtype=jnp.int32)
