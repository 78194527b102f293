"""Evaluates a jaxpr, and shows every convolution and matrix product to a visitor."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.extend import core

from dst_jax.jaxprs import binding
from dst_jax.jaxprs.calls import Called, called, name_of
from dst_jax.jaxprs.control_flow import SUMMED, Control
from dst_jax.jaxprs.exact_integers import Count
from dst_jax.jaxprs.hidden_products import is_hidden, multiplies, why_hidden
from dst_jax.jaxprs.module_paths import Path, path_of
from dst_jax.jaxprs.mutable_loops import is_mutable, is_rewritten
from dst_jax.jaxprs.operand_roles import Role, equation_roles, joined
from dst_jax.jaxprs.operation_sums import split_of, varying
from dst_jax.jaxprs.product_operands import is_product
from dst_jax.jaxprs.values import (
    Evaluated,
    Operation,
    Uncounted,
    Value,
    arrays_of,
    typed,
)

__all__ = ["Settle", "Visit", "bind", "evaluate", "settled"]

# Takes the equation of an operation, its operands and its results, and returns a tree
# of arrays and `Count`s, which are added where the operation is executed repeatedly.
Visit = Callable[[core.JaxprEqn, list[Value], list[Value]], Any]

# Takes what a visitor returned at operations that are executed as often as each other,
# and returns what can be added, in the same order: a visitor may leave work to it that
# many operations share.
Settle = Callable[[Sequence[Any]], list[Any]]


def evaluate(
    program: Called,
    args: Sequence[Value],
    path: Path = (),
    *,
    visit: Visit,
    control: Mapping[str, Control] = SUMMED,
    settle: Settle = list,
) -> Evaluated:
    """The results of a jaxpr, and its operations in the order of execution.

    What is found at an operation that cannot be counted is an `Uncounted`.

    Args:
      program: the jaxpr and its constants.
      args: values of its inputs.
      path: path of the equation that called the jaxpr, in front of those inside it.
      visit: called at every operation.
      control: how to evaluate loops, branches and the like with operations inside.
      settle: called with what was visited inside of those; what was visited outside
        of them is returned as it is.

    >>> import jax
    >>> from dst_jax.jaxprs.calls import opened
    >>> program = opened(jax.make_jaxpr(lambda w, x: x @ w)(*[jax.numpy.eye(2)] * 2))
    >>> args = [Value(jax.numpy.eye(2), role) for role in (Role.WEIGHT, Role.DATA)]
    >>> results, operations = evaluate(program, args, visit=lambda *seen: None)
    >>> [operation.primitive for operation in operations]
    ['dot_general']
    """
    jaxpr, consts = program
    env: dict[Any, Value] = dict(zip(jaxpr.invars, args, strict=True))
    for var, const in zip(jaxpr.constvars, consts, strict=True):
        env[var] = Value(const, Role.CONSTANT)

    def read(atom: Any) -> Value:
        if isinstance(atom, core.Literal):
            return Value(atom.val, Role.CONSTANT)
        return env[atom]

    operations: list[Operation] = []
    for eqn in jaxpr.eqns:
        here = (*path, *path_of(eqn.source_info.name_stack))
        inputs = [read(atom) for atom in eqn.invars]
        results, found = _step(eqn, inputs, here, visit, control, settle)
        env.update(zip(eqn.outvars, results, strict=True))
        for atom in eqn.invars:
            if is_mutable(atom.aval):  # what the equation may have written to it
                env[atom] = Value(read(atom).array, joined(x.role for x in inputs))
        operations += found
    return [read(atom) for atom in jaxpr.outvars], operations


def settled(operations: Sequence[Operation], settle: Settle) -> list[Operation]:
    """Operations with what `settle` makes of what was visited.

    >>> product = Operation(("fc",), "dot_general", 3)
    >>> settled([product], lambda found: [2 * n for n in found])[0].counts
    6
    """
    found = settle([operation.counts for operation in operations])
    return [
        dataclasses.replace(operation, counts=counts)
        for operation, counts in zip(operations, found, strict=True)
    ]


def _step(
    eqn: core.JaxprEqn,
    args: list[Value],
    path: Path,
    visit: Visit,
    control: Mapping[str, Control],
    settle: Settle,
) -> Evaluated:
    name = eqn.primitive.name
    if is_product(eqn) or is_hidden(eqn):
        results = bind(eqn, args)
        seen = (
            visit(eqn, args, results)
            if is_product(eqn)
            else Uncounted(
                name_of(eqn),
                Count.of(1),
                path="/".join(path),
                reason=why_hidden(eqn),
            )
        )
        operation = Operation(path, name_of(eqn), seen)
        split = split_of(arrays_of(args))
        if split:
            (operation,) = settled([operation], settle)
            operation = varying(operation, split)
        return results, [operation]
    if not multiplies(eqn) and not is_rewritten(eqn):
        return bind(eqn, args), []

    def run(inner: Called, inputs: Sequence[Value]) -> Evaluated:
        return evaluate(
            inner, inputs, path, visit=visit, control=control, settle=settle
        )

    def run_settled(inner: Called, inputs: Sequence[Value]) -> Evaluated:
        results, operations = run(inner, inputs)
        return results, settled(operations, settle)

    if name in control:
        typed_args = [
            Value(typed(arg.array, atom.aval), arg.role)
            for arg, atom in zip(args, eqn.invars, strict=True)
        ]
        return control[name](eqn, typed_args, run_settled)
    inner = called(eqn)
    assert inner is not None  # or it were hidden
    return run(inner, args)


def bind(eqn: core.JaxprEqn, args: list[Value]) -> list[Value]:
    """The results of one equation as it stands.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: x + 1)(1.0)
    >>> (two, one) = Value(2.0, Role.DATA), Value(1.0, Role.CONSTANT)
    >>> float(bind(program.eqns[0], [two, one])[0].array)
    3.0
    """
    if is_rewritten(eqn):
        return _step(eqn, args, (), lambda *seen: (), SUMMED, list)[0]
    outs = binding.bind(eqn, arrays_of(args))
    roles = equation_roles(eqn, [arg.role for arg in args])
    return [Value(array, role) for array, role in zip(outs, roles, strict=True)]
