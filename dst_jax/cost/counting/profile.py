"""`profile`: the zeros of every operation, for models of accelerators."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from dst_jax.cost.counting.canonical_form import canonical_form
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.jaxprs.calls import scan_parts
from dst_jax.jaxprs.control_flow import Control
from dst_jax.jaxprs.operand_roles import equation_roles
from dst_jax.jaxprs.tracing import visited
from dst_jax.jaxprs.values import (
    Evaluate,
    Evaluated,
    Operation,
    Value,
    arrays_of,
    values_of,
)

__all__ = ["profile"]


def profile(
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    with_output: bool = False,
) -> Callable[..., Any]:
    """A function that returns masks of the nonzero operands and outputs of `fn`.

    It covers the operations that `cost.count` counts, under the same keys, and keeps
    their masks: one byte per element. A scan is unrolled; its operations are `name[0]`,
    `name[1]`, ... in order of execution.

    Args:
      fn, weights, with_output: function and options as in `cost.count`.

    Returns:
      A function of the arguments of `fn` that returns `OrderedDict[str, OpProfile]`
      in order of execution, or `(output, profiles)`; `profiles[name].counts` are the
      counts, `profiles[name].input_sparsity` is the share of zeros in the input.

    Raises:
      TypeError, ValueError: as in `cost.count`; also for products in a `cond`, a
        `while_loop` or a `shard_map`, whose masks have no fixed shape, and for
        convolutions without a canonical form (`batch_group_count`).

    >>> profiles = profile(lambda w, x: x @ w)(jnp.eye(2), jnp.ones((3, 2)))
    >>> profiles["dot_general"].counts.effectual
    Count(6)
    """
    found = visited(
        fn, canonical_form, weights=weights, with_output=with_output, control=UNROLLED
    )

    @functools.wraps(fn, updated=())
    def profiled(*args: Any, **kwargs: Any) -> Any:
        if not with_output:
            return _by_iteration(found(*args, **kwargs))
        output, profiles = found(*args, **kwargs)
        return output, _by_iteration(profiles)

    return profiled


def unrolled(eqn: core.JaxprEqn, args: list[Value], run: Evaluate) -> Evaluated:
    """A `scan`, one iteration after another; its profiles are in a list."""
    body, n_consts, n_carry = scan_parts(eqn)
    roles = equation_roles(eqn, [arg.role for arg in args])
    consts, xs = args[:n_consts], args[n_consts + n_carry :]
    carry = arrays_of(args[n_consts : n_consts + n_carry])
    length = eqn.params["length"]
    order = range(length)[:: -1 if eqn.params["reverse"] else 1]
    slices: dict[int, list[Any]] = {}
    iterations: list[list[Operation]] = []

    def iterate(x: list[Any]) -> Evaluated:
        inputs = [*consts, *values_of(carry, roles[:n_carry])]
        return run(body, [*inputs, *values_of(x, [x.role for x in xs])])

    for i in order:
        results, found = iterate([x.array[i] for x in xs])
        carry, slices[i] = arrays_of(results[:n_carry]), arrays_of(results[n_carry:])
        iterations.append(found)
    shapes: list[Any] = [var.aval for var in eqn.outvars[n_carry:]]
    ys = [
        jnp.stack([jnp.asarray(slices[i][j]) for i in range(length)])
        if length
        else jnp.zeros(shape.shape, shape.dtype)
        for j, shape in enumerate(shapes)
    ]
    # A body that is never run has its place among the operations all the same.
    zeros = [jnp.zeros(x.array.shape[1:], x.array.dtype) for x in xs]
    each = iterations[0] if length else jax.eval_shape(lambda: iterate(zeros)[1])
    listed = [
        Operation(op.path, op.primitive, [found[i].counts for found in iterations])
        for i, op in enumerate(each)
    ]
    return values_of([*carry, *ys], roles), listed


def _refused(why: str) -> Control:
    def refuse(eqn: core.JaxprEqn, args: list[Value], run: Evaluate) -> Evaluated:
        del args, run
        raise ValueError(
            f"cost.profile cannot profile the multiplications of "
            f"{eqn.primitive.name!r}: {why}; cost.count counts them"
        )

    return refuse


UNROLLED: dict[str, Control] = {
    "scan": unrolled,
    "cond": _refused("which branch is taken is known only when it runs"),
    "while": _refused("how often it is repeated is known only when it runs"),
    "shard_map": _refused("its masks are spread over the devices"),
}


def _by_iteration(found: OrderedDict[str, Any]) -> OrderedDict[str, OpProfile]:
    return OrderedDict(
        item for key, value in found.items() for item in _flattened(key, value)
    )


def _flattened(key: str, found: Any) -> Iterator[tuple[str, OpProfile]]:
    if not isinstance(found, list):
        yield key, found
        return
    for i, iteration in enumerate(found):
        yield from _flattened(f"{key}[{i}]", iteration)
