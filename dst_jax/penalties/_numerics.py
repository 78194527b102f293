"""Numerics that penalties share: float32 accumulation, safe norms, checked options."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.typing import Axis, Scalar, is_traced


def upcast(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in float32 at least: half precision loses small terms of a long sum.

    Gradients and second derivatives return in the dtype of `x`. Those beyond its range
    become the largest number that it has: a slope of 1e6 is 65504 in float16.

    Raises:
      TypeError: `x` is complex.
      ValueError: `x` is empty.

    >>> upcast(jnp.ones(1, jnp.bfloat16)).dtype.name
    'float32'
    >>> jax.grad(lambda x: 1e6 * upcast(x))(jnp.float16(1)).item()
    65504.0
    """
    check_real("x", x)
    if not x.size:
        raise ValueError(f"a penalty needs at least one entry, got shape {x.shape}")
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return wide if wide.dtype == x.dtype else _bounded(wide, jnp.finfo(x.dtype).max)


def _bounded(x: Float[Array, "*shape"], most: Any) -> Float[Array, "*shape"]:
    """`x`, whose derivatives are clipped to `[-most, most]`.

    The system `I x = b`, because it may have another solver for the transposed system,
    in every order of differentiation and under `vmap`.
    """

    def same(_: Any, b: Array) -> Array:
        return b

    def clipped(_: Any, b: Array) -> Array:
        return jnp.clip(b, -most.astype(b.dtype), most.astype(b.dtype))

    return jax.lax.custom_linear_solve(lambda x: x, x, same, clipped)


def check_real(name: str, x: Array) -> None:
    """Refuses a complex array, of which formulas for real ones make something else.

    >>> check_real("x", jnp.ones(1, complex))
    Traceback (most recent call last):
    TypeError: x must be real, got complex64: take its absolute value first
    """
    if jnp.iscomplexobj(x):
        raise TypeError(
            f"{name} must be real, got {x.dtype}: take its absolute value first"
        )


def magnitude(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`|x|` with gradient 0 at 0, where the gradient of `jnp.abs` is 1.

    >>> jax.grad(magnitude)(0.0).item(), jax.grad(jnp.abs)(0.0).item()
    (0.0, 1.0)
    """
    return x * jnp.sign(x)


@jax.custom_jvp
def quotient(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    """`a / b`, whose derivatives do not form `b^2`, which may leave float32.

    >>> tiny = jnp.array(2.0**-80)
    >>> bool(jax.grad(quotient, argnums=1)(tiny, tiny) == -(2.0**80))
    True
    """
    return a / b


@quotient.defjvp
def _quotient_jvp(primals, tangents):
    (a, b), (a_dot, b_dot) = primals, tangents
    ratio = quotient(a, b)
    return ratio, quotient(a_dot - ratio * b_dot, b)


def log_one_plus(
    size: Float[Array, "*shape"], unit: Float[Array, "..."], *, power: int
) -> Float[Array, "*shape"]:
    """`log(1 + (size / unit)^power)` for `size >= 0`, also where the ratio overflows.

    >>> round(float(log_one_plus(jnp.array(3.0), jnp.array(1.0), power=2)), 4)  # log 10
    2.3026
    """
    # Selected with `where`: `maximum` would halve the derivatives at size == unit.
    beyond = size > unit
    larger = jnp.where(beyond, size, unit)
    ratio = quotient(jnp.where(beyond, unit, size), larger)
    return jnp.log1p(ratio**power) + power * (jnp.log(larger) - jnp.log(unit))


def axes_of(x: Array, axis: Axis) -> tuple[int, ...]:
    """`axis` as a tuple of non-negative axes; None is all of them.

    >>> axes_of(jnp.ones((2, 3)), -1), axes_of(jnp.ones((2, 3)), None)
    ((1,), (0, 1))
    """
    if axis is None:
        return tuple(range(x.ndim))
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    if not all(-x.ndim <= i < x.ndim for i in axes):
        raise ValueError(
            f"axis must be axes of an array of shape {x.shape}, got {axis}"
        )
    return tuple(i % x.ndim for i in axes)


def scale_of(
    size: Float[Array, "..."], axis: Axis, *, least: Scalar
) -> Float[Array, "..."]:
    """The largest of `size` over `axis`, in a range where `1 / scale` is normal too.

    XLA may divide by multiplying with the reciprocal, which would be 0 for a larger
    scale.

    >>> scale_of(jnp.array([0.5, 4.0]), None, least=1.0).tolist()
    [4.0]
    """
    largest = size.max(axis, keepdims=True)
    return jnp.clip(largest, least, 0.5 / jnp.finfo(size.dtype).tiny)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def l2_norm(x: Float[Array, "..."], axes: tuple[int, ...]) -> Float[Array, "..."]:
    """The Euclidean norm over `axes`, kept as axes of size 1; gradient 0 at 0.

    >>> l2_norm(jnp.array([3.0, 4.0]), (0,)).tolist()
    [5.0]
    """
    return _norm_and_unit(x, axes)[0]


@l2_norm.defjvp
def _l2_norm_jvp(axes: tuple[int, ...], primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return l2_norm(x, axes), (_unit(x, axes) * x_dot).sum(axes, keepdims=True)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _unit(x: Float[Array, "..."], axes: tuple[int, ...]) -> Float[Array, "..."]:
    """`x / |x|`, 0 at 0."""
    return _norm_and_unit(x, axes)[1]


@_unit.defjvp
def _unit_jvp(axes: tuple[int, ...], primals, tangents):
    """Written by hand: autodiff of the quotient forms `|x|^-2` and overflows."""
    (x,), (x_dot,) = primals, tangents
    norm, unit = _norm_and_unit(x, axes)
    across = x_dot - unit * (unit * x_dot).sum(axes, keepdims=True)
    normal = norm >= jnp.finfo(x.dtype).tiny
    return unit, jnp.where(normal, across / jnp.where(normal, norm, 1), 0)


def _norm_and_unit(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    # Squares of entries beyond 1e19 or below 1e-19 would leave float32.
    scale = scale_of(jnp.abs(x), axes, least=jnp.finfo(x.dtype).tiny)
    x = x / scale
    norm = jnp.sqrt(jnp.square(x).sum(axes, keepdims=True))
    return scale * norm, x / jnp.where(norm > 0, norm, 1)


def check(name: str, value: Any, allowed: str, holds: Callable[[float], bool]) -> None:
    """Refuses a number that is out of range; a traced value, unknown here, passes.

    >>> check("alpha", 2, "in [0, 1]", lambda v: 0 <= v <= 1)
    Traceback (most recent call last):
    ValueError: alpha must be a finite number in [0, 1], got 2
    """
    if is_traced(value):
        return
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    if not (math.isfinite(number) and holds(number)):
        raise ValueError(f"{name} must be a finite number {allowed}, got {value}")


def check_positive(name: str, value: Any) -> None:
    """Refuses `value <= 0`; a traced value, unknown here, passes.

    >>> check_positive("gamma", 0.0)
    Traceback (most recent call last):
    ValueError: gamma must be a finite number > 0, got 0.0
    """
    check(name, value, "> 0", lambda v: v > 0)


def check_non_negative(name: str, value: Any) -> None:
    """Refuses `value < 0`; a traced value, unknown here, passes.

    >>> check_non_negative("strength", -1.0)
    Traceback (most recent call last):
    ValueError: strength must be a finite number >= 0, got -1.0
    """
    check(name, value, ">= 0", lambda v: v >= 0)
