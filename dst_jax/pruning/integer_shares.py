"""Whole numbers from shares: exact sums, on the host or traced.

The same arithmetic runs in NumPy with Python's floats, for numbers known when the
transform is made, and in JAX with float32 and int32, for numbers that are traced.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import trees
from dst_jax.pruning.selection import KeptCount

__all__ = [
    "MOST",
    "budget",
    "check_sizes",
    "half_up",
    "hand_out",
    "in_proportion",
    "lift",
]

MOST = 2**31 - 1
"""The largest number that int32 holds: of weights that are counted in an array."""


def budget(total: int, sparsity: Any) -> KeptCount:
    """`round((1 - sparsity) * total)`, halves up.

    A traced sparsity has 24 bits: their product with `total` is taken in integers,
    where a float32 product would be off by more than one above 2^24 weights.

    Args:
      total: number of weights; for a traced sparsity at most 2^31 - 1.
      sparsity: number or float array in [0, 1].

    Raises:
      ValueError: there are too many weights for a traced sparsity.

    >>> budget(1000, 0.9), int(budget(1000, jnp.array(0.9)))
    (100, 100)
    """
    if not isinstance(sparsity, jax.Array):
        return half_up((1 - sparsity) * total)
    if total > MOST:
        raise ValueError(
            f"sparsity must be a number for more than {MOST} weights, whose count does"
            f" not fit an int32, got an array for {total}"
        )
    kept_24 = (1 << 24) - jnp.round(sparsity.astype(jnp.float32) * (1 << 24))
    high, low = jnp.divmod(kept_24.astype(jnp.uint32), jnp.uint32(1 << 12))
    q, r = (jnp.uint32(part) for part in divmod(total, 1 << 12))
    fraction_12 = low * q + high * r + ((low * r) >> 12)
    return (high * q + ((fraction_12 + (1 << 11)) >> 12)).astype(jnp.int32)


def check_sizes(layers: Any) -> None:
    """Refuses a layer whose weights an int32 cannot count.

    Args:
      layers: pytree of arrays or `jax.ShapeDtypeStruct`s.

    Raises:
      ValueError: a layer has more than 2^31 - 1 weights.

    >>> check_sizes({"fc": jax.ShapeDtypeStruct((2**16, 2**16), bool)})
    Traceback (most recent call last):
    ValueError: a layer must have at most 2147483647 weights, got 4294967296 in fc
    """
    for name, layer in trees.named_leaves(layers).items():
        if layer.size > MOST:
            raise ValueError(
                f"a layer must have at most {MOST} weights, got {layer.size} in "
                f"{name or 'the array'}"
            )


def in_proportion(sizes: Any, weights: Any, kept: KeptCount) -> Any:
    """`min(size, eps * weight)` with the `eps` that makes the sum `kept`, rounded.

    Layers fill up in the order of `weight / size`. With the first `j` of them full,
    `eps_j = (kept - their size) / weight of the others`; the right `j` is the first
    whose next layer is not full.

    Args:
      sizes: sizes of the layers, at least 1; may be traced, if `kept` is an array.
      weights: what the shares are in proportion to, above 0.
      kept: sum of the shares.

    >>> in_proportion(np.array([2, 9]), np.array([3.0, 3.0]), 6).tolist()
    [2, 4]
    """
    xp: Any = jnp if isinstance(kept, jax.Array) else np
    own: Any = jnp if isinstance(sizes, jax.Array) else np
    order = own.argsort(-weights / sizes, stable=True)
    n, a = sizes[order], weights[order]
    full = own.cumsum(n) - n
    others = own.cumsum(a[::-1])[::-1]
    real, whole = (np.float32, np.int32) if xp is jnp else (np.float64, np.int64)
    n_real, a, others = (xp.asarray(x, real) for x in (n, a, others))
    eps = xp.maximum(kept - full, 0).astype(real) / others
    fits = (eps * a <= n_real).at[-1].set(True) if xp is jnp else eps * a <= n_real
    if xp is np:
        fits[-1] = True
    exact = xp.minimum(n_real, eps[xp.argmax(fits)] * a)
    floor = xp.floor(exact + 1e-9).astype(whole)
    missing = kept - floor.sum()
    by_remainder = xp.argsort(floor - exact)
    up = hand_out(xp.maximum(missing, 0), n - floor, by_remainder, xp)
    down = hand_out(xp.maximum(-missing, 0), floor, by_remainder[::-1], xp)
    return (floor + up - down)[own.argsort(order)]


def lift(shares: Any, floors: Any) -> Any:
    """`shares` raised to `floors`; the others give in proportion to what they have.

    Args:
      shares: whole numbers, whose sum stays.
      floors: smallest shares, which may be traced as `shares` may; where they add up
        to more than that, the first layers are served first.

    >>> lift(np.array([0, 10, 20]), np.array([3, 1, 1])).tolist()
    [3, 9, 18]
    """
    xp: Any = jnp if isinstance(shares, jax.Array) else np
    low = xp.clip(shares.sum() - (xp.cumsum(floors) - floors), 0, floors)
    up, room = xp.maximum(low - shares, 0), xp.maximum(shares - low, 0)
    rate = up.sum() / xp.maximum(room.sum(), 1) * (1 - 1e-6)
    down = xp.floor(room * rate).astype(shares.dtype)
    down = down + hand_out(
        up.sum() - down.sum(), room - down, np.arange(len(floors)), xp
    )
    return shares + up - down


def hand_out(amount: Any, room: Any, order: Any, xp: Any) -> Any:
    """Shares of `amount`: one each in `order`, then the rest where there is room.

    Args:
      amount: whole number to share out.
      room: largest shares.
      order: positions of the layers, the first to be served first.
      xp: NumPy, or `jax.numpy` for traced numbers.

    >>> hand_out(5, np.array([1, 9, 9]), np.arange(3), np).tolist()
    [1, 3, 1]
    """
    room = room[order]
    once = xp.minimum(room, 1)
    first = xp.clip(amount - (xp.cumsum(once) - once), 0, once)
    room, left = room - first, amount - first.sum()
    second = xp.clip(left - (xp.cumsum(room) - room), 0, room)
    return (first + second)[xp.argsort(order)]


def half_up(x: float) -> int:
    """The nearest integer, halves up, where Python's `round` takes the even one.

    Args:
      x: real number.

    >>> half_up(2.5)
    3
    """
    return math.floor(x + 0.5)
