"""Whole numbers from shares: exact sums, on the host or traced.

The same arithmetic runs in NumPy with Python's floats, for numbers known when the
transform is made, and in JAX with float32 and int32, for numbers that are traced.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from dst_jax.pruning.selection import Count

__all__ = ["budget", "half_up", "hand_out", "in_proportion"]


def budget(total: int, sparsity: Any) -> Count:
    """`round((1 - sparsity) * total)`, halves up.

    A traced sparsity has 24 bits: their product with `total` is taken in integers,
    where a float32 product would be off by more than one above 2^24 weights.

    Args:
      total: at most 2^31 - 1.
      sparsity: in [0, 1], a number or a float array.

    >>> budget(1000, 0.9), int(budget(1000, jnp.array(0.9)))
    (100, 100)
    """
    if not isinstance(sparsity, jax.Array):
        return half_up((1 - sparsity) * total)
    kept_24 = (1 << 24) - jnp.round(sparsity.astype(jnp.float32) * (1 << 24))
    high, low = jnp.divmod(kept_24.astype(jnp.uint32), jnp.uint32(1 << 12))
    q, r = (jnp.uint32(part) for part in divmod(total, 1 << 12))
    fraction_12 = low * q + high * r + ((low * r) >> 12)
    return (high * q + ((fraction_12 + (1 << 11)) >> 12)).astype(jnp.int32)


def in_proportion(
    sizes: Int[np.ndarray, " layers"], weights: np.ndarray, kept: Count
) -> Any:
    """`min(size, eps * weight)` with the `eps` that makes the sum `kept`, rounded.

    Layers fill up in the order of `weight / size`. With the first `j` of them full,
    `eps_j = (kept - their size) / weight of the others`; the right `j` is the first
    whose next layer is not full.
    """
    xp: Any = jnp if isinstance(kept, jax.Array) else np
    order = np.argsort(-weights / np.maximum(sizes, 1), kind="stable")
    n, a = sizes[order], weights[order]
    full = np.concatenate([[0], np.cumsum(n)[:-1]])
    others = np.cumsum(a[::-1])[::-1]
    dtype = np.float32 if xp is jnp else np.float64
    n_real, a, others = (xp.asarray(x, dtype) for x in (n, a, others))
    eps = xp.maximum(kept - full, 0).astype(dtype) / others
    fits = (eps * a <= n_real).at[-1].set(True) if xp is jnp else eps * a <= n_real
    if xp is np:
        fits[-1] = True
    exact = xp.minimum(n_real, eps[xp.argmax(fits)] * a)
    floor = xp.floor(exact + 1e-9).astype(np.int32)
    missing = kept - floor.sum()
    by_remainder = xp.argsort(floor - exact)
    up = hand_out(xp.maximum(missing, 0), n - floor, by_remainder, xp)
    down = hand_out(xp.maximum(-missing, 0), floor, by_remainder[::-1], xp)
    return (floor + up - down)[np.argsort(order)]


def hand_out(amount: Any, room: Any, order: Any, xp: Any) -> Any:
    """Shares of `amount`: one each in `order`, then the rest where there is room."""
    room = room[order]
    once = xp.minimum(room, 1)
    first = xp.clip(amount - (xp.cumsum(once) - once), 0, once)
    room, left = room - first, amount - first.sum()
    second = xp.clip(left - (xp.cumsum(room) - room), 0, room)
    return (first + second)[xp.argsort(order)]


def half_up(x: float) -> int:
    """Half up, where Python's `round` would go to the even number."""
    return math.floor(x + 0.5)
