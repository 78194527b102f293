"""Loops, branches and `shard_map` with products inside, evaluated and added up.

Each function here evaluates one kind of equation as JAX would, with the interpreter
inside, so that the products see the real operands of every iteration.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jax.sharding import PartitionSpec
from jaxtyping import Array

from dst_jax.jaxprs import operation_sums as tallies
from dst_jax.jaxprs.calls import Called, opened, scan_parts, while_parts
from dst_jax.jaxprs.operand_roles import equation_roles
from dst_jax.jaxprs.values import (
    Evaluate,
    Evaluated,
    Operation,
    Value,
    arrays_of,
    typed,
    values_of,
)

__all__ = ["SUMMED", "Control"]

Control = Callable[[core.JaxprEqn, list[Value], Evaluate], Evaluated]


def _scan(eqn: core.JaxprEqn, args: list[Value], run: Evaluate) -> Evaluated:
    """A `scan`, its operations added over the iterations."""
    body, n_consts, n_carry = scan_parts(eqn)
    roles = equation_roles(eqn, [arg.role for arg in args])
    consts, init, xs = _parts(args, n_consts, n_carry)

    def step(carry: list[Any], slices: list[Any]) -> Any:
        inputs = values_of(carry, roles[:n_carry])
        inputs += values_of(slices, [x.role for x in xs])
        outs, found = _evaluated(run, body, [*consts, *inputs])
        return outs[:n_carry], (outs[n_carry:], found)

    length = eqn.params["length"]
    carry, (ys, found) = lax.scan(
        step,
        arrays_of(init),
        arrays_of(xs),
        length=length,
        reverse=eqn.params["reverse"],
        unroll=eqn.params["unroll"],
    )
    return values_of([*carry, *ys], roles), tallies.over_iterations(found, length)


def _while_loop(eqn: core.JaxprEqn, args: list[Value], run: Evaluate) -> Evaluated:
    """A `while`, its operations added over the iterations.

    The test may multiply too; it is counted once more than the body. Inside `vmap`
    the loop runs until the last example has ended, and what JAX multiplies until
    then for those that ended before is counted, as it is executed.
    """
    loop = while_parts(eqn)
    roles = equation_roles(eqn, [arg.role for arg in args])
    test_consts, body_consts, init = _parts(args, loop.test_consts, loop.body_consts)

    def test(carry: list[Any], found: list[Operation]) -> Any:
        inputs = [*test_consts, *values_of(carry, roles)]
        (proceed,), tested = _evaluated(run, loop.test, inputs)
        return carry, proceed, _decided_by(proceed, tested), _decided_by(proceed, found)

    # jit, so that the body is traced once: for its operations, and in the loop.
    @functools.partial(jax.jit, inline=True)
    def step(carry: list[Any], proceed: Any) -> Any:
        inputs = [*body_consts, *values_of(carry, roles)]
        after, found = _evaluated(run, loop.body, inputs)
        return test(
            [_select(proceed, *pair) for pair in zip(after, carry, strict=True)], found
        )

    def advance(state: Any) -> Any:
        carry, proceed, *found = step(*state[:2])
        return carry, proceed, *tallies.added(state[2:], tuple(found))

    carry, proceed, tested, _ = test(arrays_of(init), [])
    *_, found = jax.eval_shape(step, carry, proceed)
    start = (carry, proceed, tested, tallies.absent(found))
    carry, _, tested, found = lax.while_loop(lambda s: s[1].any(), advance, start)
    return values_of(carry, roles), [*tested, *found]


def _cond(eqn: core.JaxprEqn, args: list[Value], run: Evaluate) -> Evaluated:
    """A `cond`; operations of a branch that is not taken count nothing."""
    index, *operands = args
    roles = [operand.role for operand in operands]

    def branch(program: Called) -> Callable[[list[Any]], Any]:
        # jit, so that a branch is traced once: for its operations, and to be taken.
        @functools.partial(jax.jit, inline=True)
        def evaluated(arrays: list[Any]) -> Any:
            outs, found = _evaluated(run, program, values_of(arrays, roles))
            return outs, _decided_by(index.array, found)

        return evaluated

    branches = [branch(opened(program)) for program in eqn.params["branches"]]
    arrays = arrays_of(operands)
    found = [jax.eval_shape(branch, arrays)[1] for branch in branches]

    def taking(i: int) -> Callable[[list[Any]], Any]:
        def taken(arrays: list[Any]) -> Any:
            outs, here = branches[i](arrays)
            counts = [tallies.absent(shapes) for shapes in found]
            counts[i] = here
            return outs, counts

        return taken

    alternatives = [taking(i) for i in range(len(branches))]
    outs, counts = lax.switch(index.array, alternatives, arrays)
    operations = [operation for branch in counts for operation in branch]
    return values_of(outs, equation_roles(eqn, [arg.role for arg in args])), operations


def _shard_map(eqn: core.JaxprEqn, args: list[Value], run: Evaluate) -> Evaluated:
    """A `shard_map`, its operations added over the devices that split them.

    A product that all devices along an axis of the mesh compute alike is counted
    once for them, as in the program that is written without `shard_map`.
    """
    params = eqn.params
    if not params["check_vma"]:
        raise ValueError(
            "cost.count needs shard_map(..., check_vma=True), which says along which "
            "axes of the mesh a product is split"
        )
    axes = frozenset(params["newly_manual_axes"])
    roles = [arg.role for arg in args]

    def local(*arrays: Any) -> Any:
        program = opened(params["jaxpr"])
        outs, found = _evaluated(run, program, values_of(arrays, roles))
        return outs, [tallies.over_devices(operation, axes) for operation in found]

    mapped = jax.shard_map(
        local,
        mesh=params["mesh"],
        in_specs=params["in_specs"],
        out_specs=(list(params["out_specs"]), PartitionSpec()),
        axis_names=set(axes),
    )
    # jit, because shard_map by itself compiles every primitive apart.
    outs, found = jax.jit(mapped)(*arrays_of(args))
    return values_of(outs, equation_roles(eqn, roles)), found


SUMMED: dict[str, Control] = {
    "scan": _scan,
    "while": _while_loop,
    "cond": _cond,
    "shard_map": _shard_map,
}


def _parts(values: list[Value], first: int, second: int) -> tuple[list[Value], ...]:
    """Values in three parts; the last is what remains."""
    end = first + second
    return values[:first], values[first:end], values[end:]


def _select(proceed: Array, after: Any, before: Any) -> Any:
    """The next carry; inside `vmap`, of the examples that have not ended."""
    if not proceed.ndim:
        return after
    axes = range(proceed.ndim, after.ndim)
    return jnp.where(jnp.expand_dims(proceed, axes), after, before)


def _decided_by(decision: Any, found: list[Operation]) -> list[Operation]:
    """Operations that only those devices execute that decide so."""
    split = tallies.split_of([decision])
    return [tallies.varying(operation, split) for operation in found]


def _evaluated(
    run: Evaluate, program: Called, inputs: Sequence[Value]
) -> tuple[list[Any], list[Operation]]:
    """The results as arrays of the types that the jaxpr declares, and operations."""
    values, found = run(program, inputs)
    outvars = program.jaxpr.outvars
    outs = [
        typed(value.array, var.aval) for value, var in zip(values, outvars, strict=True)
    ]
    return outs, found
