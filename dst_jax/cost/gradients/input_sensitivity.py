"""The cost of one nonzero element at the input of each operation."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

from dst_jax.cost.counting.side_sums import SUMS
from dst_jax.cost.gradients.marks import Which, partner_counts
from dst_jax.cost.gradients.products import products
from dst_jax.jaxprs.operand_roles import Role, activation_side
from dst_jax.jaxprs.product_operands import dot_numbers, sides
from dst_jax.jaxprs.tracing import visited
from dst_jax.jaxprs.values import Value, arrays_of

__all__ = ["input_sensitivity"]


def input_sensitivity(
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    partners: Which = "nonzero",
) -> Callable[..., OrderedDict[str, Array]]:
    """A function that returns the cost of a nonzero element of each operation's input.

    It is like `cost.sensitivity`, but for the inputs of the operations instead of the
    maps that `fn` returns. No map is followed, so all costs are exact.

    Args:
      fn, weights: function and positions of the weights, as in `cost.count`.
      partners: partners that count, as in `cost.sensitivity`.

    Returns:
      A function of the arguments of `fn` that returns float32 arrays, by the keys of
      `cost.count`. Their shape is the input's without the axes along which all costs
      are equal: a convolution's images and the rows of a product. If both operands
      depend on data (attention), `/lhs` or `/rhs` is appended. Products of weights are
      left out.

    Raises:
      ValueError: unknown `partners`; or as in `cost.count`.

    >>> costs = input_sensitivity(lambda w, x: x @ w)(jnp.eye(2, 3), jnp.ones((4, 2)))
    >>> costs["dot_general"].tolist()
    [1.0, 1.0]
    """
    present = partner_counts(partners)

    def visit(
        eqn: core.JaxprEqn, args: list[Value], results: list[Value]
    ) -> dict[str, Array]:
        del results
        lhs, rhs = sides(eqn, args)
        operands = arrays_of(args)
        found = {
            "lhs": lambda: _cost(eqn, 0, lhs.array, present(rhs.array), operands),
            "rhs": lambda: _cost(eqn, 1, rhs.array, present(lhs.array), operands),
        }
        side = activation_side(lhs.role, rhs.role)
        if side is not None:
            return {"": found[side]()}
        if not lhs.role & Role.DATA:
            return {}
        return {f"/{name}": cost() for name, cost in found.items()}

    counted = visited(fn, visit, weights=weights)

    def costs(*args: Any, **kwargs: Any) -> OrderedDict[str, Array]:
        return OrderedDict(
            (key + suffix, cost)
            for key, found in counted(*args, **kwargs).items()
            for suffix, cost in found.items()
        )

    return costs


def _cost(
    eqn: core.JaxprEqn,
    side: int,
    operand: Array,
    partner: Array,
    operands: Sequence[Any],
) -> Array:
    def multiplied(x: Array) -> Array:
        pair = (x, partner) if side == 0 else (partner, x)
        return products(eqn, *pair, operands)

    slope = jax.grad(multiplied)(jnp.zeros(operand.shape))
    return slope.mean(_alike(eqn, side, operand.ndim))


def _alike(eqn: core.JaxprEqn, side: int, rank: int) -> tuple[int, ...]:
    """The axes of an operand along which all costs are the same."""
    if eqn.primitive.name == "conv_general_dilated":
        numbers = eqn.params["dimension_numbers"]
        return ((numbers.lhs_spec, numbers.rhs_spec)[side][0],)
    if eqn.primitive.name in SUMS:  # groups and stored entries differ by row
        return ()
    contracting, batch = dot_numbers(eqn)
    return tuple(set(range(rank)).difference(contracting[side], batch[side]))
