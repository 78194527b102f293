"""Sums of integers that XLA compiles to one loop."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jaxtyping import Array

__all__ = ["SHORT", "short_sum"]

# XLA:CPU makes a tree of windows of a sum along more elements: three loops, not one.
SHORT = 31


def short_sum(
    x: Array, axes: Sequence[int], of: Callable[[Array], Array] = lambda x: x
) -> Array:
    """The sum of `of(x)` along `axes`, each split into several that are short.

    An axis with a large prime factor keeps it; an array that is sharded over explicit
    axes of the mesh keeps all its axes.

    Args:
      x: array.
      axes: axes to sum, not negative.
      of: function of each element that returns an integer, applied after the split.

    >>> import jax.numpy as jnp
    >>> short_sum(jnp.ones((64, 2)), [0], lambda x: (x != 0).astype(jnp.uint8)).tolist()
    [64, 64]
    """
    spec: Any = jax.typeof(x).sharding.spec
    if any(spec):
        return jax.lax.reduce_sum(of(x), axes)
    shape, summed = list[int](), list[int]()
    for axis, size in enumerate(x.shape):
        if axis not in axes:
            shape.append(size)
            continue
        # XLA joins the parts again, unless an axis that stays stands in front of them.
        parts = _parts(size)
        summed += range(len(shape) + 1, len(shape) + 1 + len(parts))
        shape += [1, *parts]
    sums = jax.lax.reduce_sum(of(jax.lax.reshape(x, shape)), summed)
    rest = [size for axis, size in enumerate(x.shape) if axis not in axes]
    return jax.lax.reshape(sums, rest)


def _parts(size: int) -> list[int]:
    """Factors of `size`, few and short if its primes are: 64 is 16 times 4."""
    parts = [1]
    for prime in reversed(_primes(size)):
        if parts[-1] * prime <= SHORT:
            parts[-1] *= prime
        else:
            parts.append(prime)
    return parts


def _primes(n: int) -> list[int]:
    found, divisor = [], 2
    while divisor * divisor <= n:
        while n % divisor == 0:
            found.append(divisor)
            n //= divisor
        divisor += 1
    return [*found, n] if n != 1 else found
