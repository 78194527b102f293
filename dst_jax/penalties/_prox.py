"""Parts of proximal maps: splitting size and sign, choosing among candidates."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.penalties._numerics import check_non_negative, check_real
from dst_jax.typing import Scalar

Size = Float[Array, "*shape"]


def sizes(y: Size, strength: Scalar) -> tuple[Size, Float[Array, "..."]]:
    """`|y|` and the checked strength, in float32 at least.

    >>> size, strength = sizes(jnp.array([-2.0]), 1)
    >>> size.tolist(), strength.tolist()
    ([2.0], 1.0)
    """
    check_real("y", y)
    check_non_negative("strength", strength)
    dtype = jnp.promote_types(y.dtype, jnp.float32)
    return jnp.abs(y).astype(dtype), jnp.asarray(strength, dtype)


def signed(y: Size, size: Size) -> Size:
    """`size` with the sign and the dtype of `y`; NaN stays NaN.

    >>> signed(jnp.array([-2.0, 3.0]), jnp.array([1.0, 1.0])).tolist()
    [-1.0, 1.0]
    """
    return (jnp.sign(y) * size).astype(y.dtype)


def best(
    size: Size, strength: Scalar, penalty: Callable[[Size], Size], *candidates: Size
) -> Size:
    """The candidate of least `(x - size)^2 / 2 + strength penalty(x)`, 0 among them.

    A tie goes to the last candidate.

    >>> best(jnp.array([3.0]), 1.0, jnp.abs, jnp.array([2.0])).tolist()
    [2.0]
    """
    found = jnp.zeros_like(size)
    least = jnp.square(size) / 2  # every penalty is 0 at 0
    for candidate in candidates:
        value = jnp.square(candidate - size) / 2 + strength * penalty(candidate)
        found = jnp.where(value <= least, candidate, found)
        least = jnp.minimum(value, least)
    return found


def root_of(f: Callable[[Size], Size], start: Size, upper: Size | float) -> Size:
    """The root of an elementwise `f` in [0, upper], by Newton's method from `start`.

    `f` must rise towards its root. Where it does not, the search stops, and the caller
    compares the result with other candidates. At a double root every step only halves
    the distance, and 40 steps still reach float32. Derivatives are the implicit ones.

    >>> round(float(root_of(lambda x: x**2 - 2, jnp.array(2.0), 2.0)), 4)
    1.4142
    """

    def slope_of(f: Callable[[Size], Size], x: Size) -> tuple[Size, Size]:
        value, slope = jax.jvp(f, (x,), (jnp.ones_like(x),))
        return value, jnp.where(slope > 0, slope, jnp.inf)

    def solve(f: Callable[[Size], Size], start: Size) -> Size:
        def step(_: Any, x: Size) -> Size:
            value, slope = slope_of(f, x)
            return jnp.clip(x - value / slope, 0, upper)

        return jax.lax.fori_loop(0, 40, step, start)

    def tangent_solve(linear: Callable[[Size], Size], y: Size) -> Size:
        return y / slope_of(linear, jnp.zeros_like(y))[1]

    return jax.lax.custom_root(f, start, solve, tangent_solve)
