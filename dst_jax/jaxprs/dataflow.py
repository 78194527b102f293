"""What is known about every value of a jaxpr, followed from its inputs to its results.

Nothing is computed. A `Domain` says what is known about a value and what an equation
makes of it; `followed` takes that through calls, branches and loops.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from jax.extend import core

from dst_jax.jaxprs.calls import Called, called, opened, scan_parts, while_parts
from dst_jax.jaxprs.mutable_loops import is_mutable

__all__ = ["Domain", "NameStacks", "followed", "results_of"]

Fact = TypeVar("Fact")

NameStacks = tuple[Any, ...]
"""Name stacks of equations that hold each other, the outermost first."""


class Domain(abc.ABC, Generic[Fact]):
    """What is known about values.

    Facts have to be finitely many, and `either` must never forget, so that the facts
    about a loop's carry are found. A fact that depends on the shape of its value
    overrides `element`, `stacked` and `shaped`: a body sees other shapes than the
    equation that holds it.
    """

    @abc.abstractmethod
    def constant(self, aval: Any) -> Fact:
        """The fact about a constant of a jaxpr."""

    def literal(self, aval: Any, value: Any) -> Fact:
        """The fact about a number that is written into a jaxpr."""
        del value
        return self.constant(aval)

    def captured(self, aval: Any, value: Any) -> Fact:
        """The fact about a constant of a jaxpr whose value is known."""
        del value
        return self.constant(aval)

    @abc.abstractmethod
    def either(self, a: Fact, b: Fact) -> Fact:
        """The fact about what is one value or another of the same shape."""

    @abc.abstractmethod
    def results(
        self, eqn: core.JaxprEqn, operands: Sequence[Fact], scope: NameStacks
    ) -> list[Fact]:
        """The facts about the results of an equation whose body is not followed.

        Args:
          eqn: the equation.
          operands: facts about its operands.
          scope: name stacks down to that of the equation.
        """

    def element(self, fact: Fact, scan: core.JaxprEqn) -> Fact:
        """The fact about what a `scan` takes off along the leading axis."""
        del scan
        return fact

    def stacked(self, fact: Fact, scan: core.JaxprEqn) -> Fact:
        """The fact about what a `scan` stacks along a new leading axis."""
        del scan
        return fact

    def shaped(self, fact: Fact, aval: Any) -> Fact:
        """The fact about the part of a value, or the whole, of another shape."""
        del aval
        return fact

    def written(self, fact: Fact, operands: Sequence[Fact]) -> Fact:
        """The fact about a mutable array after an equation that may write to it."""
        for operand in operands:
            fact = self.either(fact, operand)
        return fact

    def is_whole(self, eqn: core.JaxprEqn) -> bool:
        """Whether the body of an equation is not followed."""
        del eqn
        return False

    def tentative(self) -> "Domain[Fact]":
        """The domain for a loop's body before all facts about its carry are known."""
        return self

    def inside(self, eqn: core.JaxprEqn) -> "Domain[Fact]":
        """The domain for what a loop or a branch holds."""
        del eqn
        return self


def followed(
    program: Called,
    inputs: Sequence[Fact],
    domain: Domain[Fact],
    scope: NameStacks = (),
) -> list[Fact]:
    """The facts about the results of a jaxpr.

    Args:
      program: the jaxpr.
      inputs: facts about its inputs.
      domain: what is known about values.
      scope: name stacks down to that of the equation that calls the jaxpr.

    >>> import jax
    >>> class Depth(Domain[int]):  # operations in a row that lead to a value
    ...     def constant(self, aval): return 0
    ...     def either(self, a, b): return max(a, b)
    ...     def results(self, eqn, operands, scope):
    ...         return [1 + max(operands)] * len(eqn.outvars)
    >>> program = opened(jax.make_jaxpr(jax.jit(lambda x: 1 - 2 * x))(3.0))
    >>> followed(program, [0], Depth())
    [2]
    """
    jaxpr = program.jaxpr
    known: dict[Any, Fact] = dict(zip(jaxpr.invars, inputs, strict=True))
    consts = zip(jaxpr.constvars, program.consts, strict=True)
    known |= {var: domain.captured(var.aval, value) for var, value in consts}

    def fact(atom: Any) -> Fact:
        if isinstance(atom, core.Literal):
            return domain.literal(atom.aval, atom.val)
        return known[atom]

    for eqn in jaxpr.eqns:
        operands = [fact(atom) for atom in eqn.invars]
        results = results_of(eqn, operands, domain, scope)
        known.update(zip(eqn.outvars, results, strict=True))
        for atom in eqn.invars:
            if is_mutable(atom.aval):
                known[atom] = domain.written(fact(atom), operands)
    return [fact(atom) for atom in jaxpr.outvars]


def results_of(
    eqn: core.JaxprEqn,
    operands: Sequence[Fact],
    domain: Domain[Fact],
    scope: NameStacks = (),
) -> list[Fact]:
    """The facts about the results of an equation.

    Through calls, loops and branches each result is followed on its own. Only values
    are followed, not decisions: which branch is taken and when a loop ends does not
    matter. See `followed` for the arguments.

    >>> import jax
    >>> from dst_jax.jaxprs.operand_roles import Role, equation_roles
    >>> program = jax.make_jaxpr(jax.jit(lambda w, x: (2 * w, w * x)))(1.0, 2.0)
    >>> equation_roles(program.eqns[0], [Role.WEIGHT, Role.DATA])  # calls results_of
    [<Role.WEIGHT: 1>, <Role.WEIGHT|DATA: 3>]
    """
    scope = (*scope, eqn.source_info.name_stack)
    if domain.is_whole(eqn):
        return domain.results(eqn, operands, scope)
    match eqn.primitive.name:
        case "scan":
            return _scan(eqn, operands, domain, scope)
        case "while":
            return _while(eqn, operands, domain, scope)
        case "cond":
            branches = (opened(branch) for branch in eqn.params["branches"])
            inner = domain.inside(eqn)
            found = [followed(b, operands[1:], inner, scope) for b in branches]
            return _alternatives(found, domain)
        case "shard_map":
            return _shard_map(eqn, operands, domain, scope)
    inner = called(eqn)
    if inner is not None:
        return followed(inner, operands, domain, scope)
    return domain.results(eqn, operands, scope)


def _scan(
    eqn: core.JaxprEqn,
    operands: Sequence[Fact],
    domain: Domain[Fact],
    scope: NameStacks,
) -> list[Fact]:
    body, n_consts, n_carry = scan_parts(eqn)
    consts, xs = operands[:n_consts], operands[n_consts + n_carry :]
    slices = [domain.element(x, eqn) for x in xs]

    def once(carry: Sequence[Fact], domain: Domain[Fact]) -> list[Fact]:
        return followed(body, [*consts, *carry, *slices], domain, scope)

    def step(carry: Sequence[Fact]) -> list[Fact]:
        return once(carry, domain.tentative())[:n_carry]

    carry = _fixpoint(step, operands[n_consts : n_consts + n_carry], domain)
    ys = once(carry, domain.inside(eqn))[n_carry:]
    return [*carry, *(domain.stacked(y, eqn) for y in ys)]


def _while(
    eqn: core.JaxprEqn,
    operands: Sequence[Fact],
    domain: Domain[Fact],
    scope: NameStacks,
) -> list[Fact]:
    loop = while_parts(eqn)
    n_consts = loop.test_consts + loop.body_consts
    test_consts = operands[: loop.test_consts]
    consts = operands[loop.test_consts : n_consts]

    def step(carry: Sequence[Fact]) -> list[Fact]:
        return followed(loop.body, [*consts, *carry], domain.tentative(), scope)

    carry = _fixpoint(step, operands[n_consts:], domain)
    followed(loop.test, [*test_consts, *carry], domain.inside(eqn), scope)
    followed(loop.body, [*consts, *carry], domain.inside(eqn), scope)
    return carry


def _shard_map(
    eqn: core.JaxprEqn,
    operands: Sequence[Fact],
    domain: Domain[Fact],
    scope: NameStacks,
) -> list[Fact]:
    program = opened(eqn.params["jaxpr"])
    invars = program.jaxpr.invars
    parts = [domain.shaped(x, v.aval) for x, v in zip(operands, invars, strict=True)]
    results = followed(program, parts, domain, scope)
    outvars = zip(results, eqn.outvars, strict=True)
    return [domain.shaped(result, var.aval) for result, var in outvars]


def _alternatives(found: Sequence[list[Fact]], domain: Domain[Fact]) -> list[Fact]:
    first, *others = found
    for other in others:
        first = [domain.either(a, b) for a, b in zip(first, other, strict=True)]
    return first


def _fixpoint(
    step: Callable[[Sequence[Fact]], list[Fact]],
    carry: Sequence[Fact],
    domain: Domain[Fact],
) -> list[Fact]:
    """What is known about the carry in every iteration."""
    before, after = None, list(carry)
    while after != before:
        before = after
        after = _alternatives([before, step(before)], domain)
    return after
