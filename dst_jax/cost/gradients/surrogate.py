"""The differentiable count of multiplications, for use as a loss."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dst_jax.cost.gradients.products import products
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.product_operands import sides
from dst_jax.jaxprs.tracing import visited
from dst_jax.jaxprs.values import Value, arrays_of

__all__ = ["soft_indicator", "surrogate"]


def surrogate(
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    a: ArrayLike = 0.1,
    a_weights: ArrayLike | None = None,
    straight_through: bool = False,
) -> Callable[..., OrderedDict[str, Float[Array, ""]]]:
    """A function that returns a smooth count of the multiplications of `fn`.

        sum over all pairs that are multiplied of phi(x) phi(w),
        phi(x) = (1 + a) |x| / (a + |x|)

    For a -> 0 this is `cost.count`'s `effectual`. Every element is weighted by its
    cost: an activation by the weights that it meets, a weight by its activations. The
    sum is a loss with derivatives in all arguments of `fn` and in `a`.

    The slope of phi is (1 + a) / a just above 0 and falls as a / x^2: choose `a` near
    the magnitudes of the elements that may become zero. The derivative passes through
    `fn`, but operations inside remat or a custom derivative are differentiated
    directly. A `while_loop` has no reverse derivative.

    Args:
      fn: function, as in `cost.count`.
      weights: positions of the arguments that hold the weights.
      a: shape parameter > 0 of operands that depend on data; may be traced.
      a_weights: shape parameter of all other operands; by default `a`.
      straight_through: Whether the value is the exact count (in float32: rounded past
        2^24). The derivative of an operand is then that of phi, with exact zeros of the
        other operand.

    Returns:
      A function of the arguments of `fn` that returns float32 scalars in order of
      execution, with the keys of `cost.count`.

    Raises:
      ValueError: as in `cost.count`.

    Reference:
      phi is the Transformed l1 penalty of Yu & Tian 2024 (arXiv 2405.19652).

    >>> smooth = surrogate(lambda w, x: x @ w, a=1e-6)
    >>> counts = smooth(jnp.eye(2), jnp.ones((3, 2)))
    >>> round(float(counts["dot_general"]), 3)
    6.0
    """
    a_weights = a if a_weights is None else a_weights

    def indicator(x: Value) -> Array:
        shape = a if x.role & Role.DATA else a_weights
        soft = soft_indicator(jnp.asarray(x.array), shape)
        if not straight_through:
            return soft
        return (x.array != 0) + (soft - jax.lax.stop_gradient(soft))

    def visit(eqn: core.JaxprEqn, args: list[Value], results: list[Value]) -> Array:
        del results
        lhs, rhs = sides(eqn, args)
        return products(eqn, indicator(lhs), indicator(rhs), arrays_of(args))

    return visited(fn, visit, weights=weights)


def soft_indicator(x: Array, a: ArrayLike) -> Float[Array, "..."]:
    """A smooth indicator of nonzeros: `(1 + a) |x| / (a + |x|)`.

    It is 0 at x = 0 and tends to 1 + a. The gradient at 0 is 0. NaN stays NaN.

    Args:
      x: array of any shape and dtype.
      a: shape parameter > 0; half of the height is reached at |x| = a.

    Returns:
      float32, shaped like `x`.

    >>> soft_indicator(jnp.array([0.0, 1.0, -3.0]), 1.0).tolist()
    [0.0, 1.0, 1.5]
    """
    zero = x == 0
    size = jnp.abs(jnp.where(zero, jnp.ones_like(x), x)).astype(jnp.float32)
    a = jnp.asarray(a, jnp.float32)
    return jnp.where(zero, 0.0, (1 + a) * _saturating(size, a))


@jax.custom_jvp
def _saturating(size: Array, a: Array) -> Array:
    """size / (a + size) for size > 0, infinity included."""
    return 1 / (1 + a / size)


@_saturating.defjvp
def _saturating_jvp(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Written by hand: slopes of the quotient overflow at small and large sizes."""
    size, a = primals
    size_dot, a_dot = tangents
    value = _saturating(size, a)
    return value, (a / (a + size) * size_dot - value * a_dot) / (a + size)
