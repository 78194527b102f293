"""`input_zeros`: zeros of every operation's operands, counted without their masks."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
from jax.extend import core

from dst_jax.cost.counting.factors import nonzeros
from dst_jax.cost.counting.per_example import of_each_example
from dst_jax.jaxprs.exact_integers import Count, sum_products
from dst_jax.jaxprs.operand_roles import Role, activation_side
from dst_jax.jaxprs.product_operands import sides
from dst_jax.jaxprs.tracing import visited
from dst_jax.jaxprs.values import Value

__all__ = ["OperandZeros", "input_zeros"]


class OperandZeros(NamedTuple):
    """Zeros of an operation's operands: `Count` on the device, int on the host.

    Attributes:
      zero_inputs: zeros of the activation; of both operands if both depend on data.
      inputs: its elements.
      zero_weights: zeros of the weight; of both operands if neither depends on data.
      weights: its elements.
    """

    zero_inputs: Count | int
    inputs: Count | int
    zero_weights: Count | int
    weights: Count | int

    @property
    def input_sparsity(self) -> float:
        """The share of zeros in the input, in [0, 1]; NaN if it has no elements.

        >>> OperandZeros(1, 4, 0, 8).input_sparsity
        0.25
        """
        return _share(self.zero_inputs, self.inputs)

    @property
    def weight_sparsity(self) -> float:
        """The share of zeros in the weight, in [0, 1]; NaN if it has no elements.

        >>> OperandZeros(1, 4, 2, 8).weight_sparsity
        0.25
        """
        return _share(self.zero_weights, self.weights)


def input_zeros(
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    with_output: bool = False,
    per_example: bool = False,
    opaque: Literal["raise", "list"] = "raise",
) -> Callable[..., Any]:
    """A function that counts the zeros in the operands of every operation of `fn`.

    It covers the operations that `cost.count` counts, under the same keys, and sums the
    zeros where `cost.profile` keeps the masks: no memory, and any loop or branch. Every
    element has the same weight, whatever number of products reads it; padding is no
    element. The elements of a sparse matrix are its stored values. What a loop
    multiplies repeatedly counts every time; inside `shard_map` every device with a part
    of a product counts the operands that it reads.

    Args:
      fn, weights, with_output, per_example, opaque: function and options as in
        `cost.count`.

    Returns:
      A function of the arguments of `fn` that returns `OrderedDict[str, OperandZeros]`
      in order of execution, or `(output, zeros)`.

    Raises:
      TypeError, ValueError: as in `cost.count`.

    >>> zeros = input_zeros(lambda w, x: x @ w)(jnp.eye(2), jnp.array([[0.0, 1.0]]))
    >>> zeros["dot_general"]
    OperandZeros(zero_inputs=Count(1), inputs=Count(2), zero_weights=Count(2), ...)
    >>> zeros["dot_general"].input_sparsity
    0.5
    """
    found = visited(
        fn, _operand_zeros, weights=weights, with_output=with_output, opaque=opaque
    )
    return of_each_example(found, fn, weights=weights) if per_example else found


def _operand_zeros(
    eqn: core.JaxprEqn, args: list[Value], results: list[Value]
) -> OperandZeros:
    del results
    lhs, rhs = sides(eqn, args)
    both_are_data = bool(lhs.role & rhs.role & Role.DATA)
    inputs = {"lhs": [lhs], "rhs": [rhs], None: [lhs, rhs] if both_are_data else []}
    side = activation_side(lhs.role, rhs.role)
    weights = [x for x in (lhs, rhs) if not any(x is y for y in inputs[side])]
    return OperandZeros(*_zeros(inputs[side]), *_zeros(weights))


def _zeros(operands: Sequence[Value]) -> tuple[Count, Count]:
    """The zeros and the elements of operands."""
    arrays = [jnp.atleast_1d(jnp.asarray(x.array)) for x in operands]
    elements = sum(x.size for x in arrays)
    zeros = Count.of(0)
    for x in arrays:
        present = nonzeros(x, tuple(range(1, x.ndim)))
        each = x[:1].size
        absent = jnp.uint32(each) - present
        zeros += Count(sum_products(absent, jnp.ones_like(absent), max_a=each, max_b=1))
    return zeros, Count.of(elements)


def _share(part: Count | int, whole: Count | int) -> float:
    return int(part) / int(whole) if int(whole) else float("nan")
