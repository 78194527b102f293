"""Exact integer sums that leave the device as one rounded float32.

Counts of nonzeros are int32. Sums of their products go through limbs, or through a
float32 product of matrices whose partial sums are at most 2^24. Only the last step
rounds: an integer up to 2^24 is exact, a larger one has a relative error of at most
2^-22.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from dst_jax.jaxprs.exact_integers import Count, sum_products

__all__ = ["LARGEST", "ceil_div", "exact_dot", "exact_sum", "nonzeros", "pad_to"]

EXACT = 1 << 24  # every integer up to here is a float32
LARGEST = 2**31 - 1
"""Bounds of elements and of sums in int32."""


def ceil_div(x: Any, n: Any) -> Any:
    """The quotient `x / n`, rounded up, for integers x >= 0 and n >= 1.

    >>> ceil_div(9, 4), ceil_div(jnp.array([0, 8]), 4).tolist()
    (3, [0, 2])
    """
    # -(-x // n) would wrap on unsigned arrays.
    return (x + n - 1) // n


def nonzeros(mask: Bool[Array, "..."], axis: int | tuple[int, ...]) -> Int[Array, "*n"]:
    """The number of true elements along `axis`, int32.

    >>> nonzeros(jnp.array([[True, False], [True, True]]), 0).tolist()
    [2, 1]
    """
    return mask.sum(axis, dtype=jnp.int32)


def pad_to(x: Shaped[Array, "..."], axis: int, multiple: int) -> Shaped[Array, "..."]:
    """The array `x` with zeros at the end of `axis`, up to a multiple.

    >>> pad_to(jnp.ones(3, int), 0, 2).tolist()
    [1, 1, 1, 0]
    """
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % multiple)
    return jnp.pad(x, widths)


def exact_sum(
    x: Int[Array, "*batch n"],
    y: Int[Array, "*batch n"] | None = None,
    *,
    most: int,
    most_y: int = 1,
) -> Float[Array, "*batch"]:
    """`sum_n x * y` over the last axis, rounded once.

    Args:
      x: elements in [0, most].
      y: elements in [0, most_y]; 1 by default.
      most, most_y: bounds below 2^31. Tight bounds make a smaller program: limbs are
        needed only if the sum may pass 2^31.

    Raises:
      ValueError: a bound is not below 2^31.

    >>> exact_sum(jnp.array([3, 4]), jnp.array([5, 6]), most=4, most_y=6).item()
    39.0
    """
    _check(max(most, most_y))
    y = jnp.ones_like(x) if y is None else y
    if x.shape[-1] * most * most_y <= LARGEST:
        return (x * y).sum(-1, dtype=jnp.int32).astype(jnp.float32)
    a, b = x.astype(jnp.uint32), y.astype(jnp.uint32)
    return Count(sum_products(a, b, max_a=most, max_b=most_y)).as_float()


def exact_dot(
    x: Int[Array, "*#batch m k"] | Bool[Array, "*#batch m k"],
    y: Int[Array, "*#batch k n"] | Bool[Array, "*#batch k n"],
    *,
    most: int,
) -> Shaped[Array, "... m n"]:
    """The exact product of two matrices of integers >= 0, float32 or int32.

    Args:
      x, y: matrices.
      most: bound of every element of the product, below 2^31.

    Raises:
      ValueError: `most` is not below 2^31.

    >>> exact_dot(jnp.array([[1, 2]]), jnp.array([[3], [4]]), most=11).tolist()
    [[11.0]]
    """
    _check(most)
    if most > EXACT:
        return jnp.matmul(x.astype(jnp.int32), y.astype(jnp.int32))
    a, b = x.astype(jnp.float32), y.astype(jnp.float32)
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _check(most: int) -> None:
    if most > LARGEST:
        raise ValueError(
            f"the sums of one operation must stay below 2^31, got a bound of {most}: "
            "profile a smaller batch"
        )
