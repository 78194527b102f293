"""Which operand is the weight: followed through the program, from the arguments."""

import enum
import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from jax.extend import core

from dst_jax.jaxprs.calls import Called, called, opened, scan_parts, while_parts

__all__ = [
    "Role",
    "activation_side",
    "equation_roles",
    "joined",
    "scan_roles",
    "while_roles",
]


class Role(enum.IntFlag):
    """Which arguments a value depends on. A value that depends on both is DATA too."""

    CONSTANT = 0
    WEIGHT = 1
    DATA = 2


def activation_side(lhs: Role, rhs: Role) -> Literal["lhs", "rhs"] | None:
    """The side of the activation; None where neither or both operands are data.

    Whatever depends on data is an activation. A constant is the weight beside data,
    and the activation beside a weight.

    >>> activation_side(Role.DATA | Role.WEIGHT, Role.WEIGHT)
    'lhs'
    >>> activation_side(Role.WEIGHT, Role.CONSTANT)
    'rhs'
    >>> activation_side(Role.DATA, Role.DATA) is None
    True
    """
    left, right = _rank(lhs), _rank(rhs)
    if left == right:
        return None
    return "lhs" if left > right else "rhs"


def _rank(role: Role) -> int:
    if role & Role.DATA:
        return 2
    return 0 if role & Role.WEIGHT else 1


def joined(roles: Iterable[Role]) -> Role:
    """The role of what depends on all of these.

    >>> joined([Role.CONSTANT, Role.WEIGHT])
    <Role.WEIGHT: 1>
    """
    return functools.reduce(operator.or_, roles, Role.CONSTANT)


def equation_roles(eqn: core.JaxprEqn, roles: Sequence[Role]) -> list[Role]:
    """The roles of an equation's results.

    Through calls, loops and branches each result is followed on its own; a result of
    any other equation depends on all operands. Only values are followed: a weight
    stays one where data decide which branch hands it on, or when a loop ends.
    """
    match eqn.primitive.name:
        case "scan":
            return scan_roles(eqn, roles)
        case "while":
            return while_roles(eqn, roles)
        case "cond":
            branches = (opened(branch) for branch in eqn.params["branches"])
            results = [_jaxpr_roles(branch, roles[1:]) for branch in branches]
            return [joined(same) for same in zip(*results, strict=True)]
        case "shard_map":
            return _jaxpr_roles(opened(eqn.params["jaxpr"]), roles)
    inner = called(eqn)
    if inner is not None:
        return _jaxpr_roles(inner, roles)
    return [joined(roles)] * len(eqn.outvars)


def scan_roles(eqn: core.JaxprEqn, roles: Sequence[Role]) -> list[Role]:
    """The roles of the carry, in every iteration and at the end, and of the slices."""
    body, n_consts, n_carry = scan_parts(eqn)
    consts, xs = roles[:n_consts], roles[n_consts + n_carry :]

    def once(carry: Sequence[Role]) -> list[Role]:
        return _jaxpr_roles(body, [*consts, *carry, *xs])

    carry = _fixpoint(lambda c: once(c)[:n_carry], roles[n_consts : n_consts + n_carry])
    return [*carry, *once(carry)[n_carry:]]


def while_roles(eqn: core.JaxprEqn, roles: Sequence[Role]) -> list[Role]:
    """The roles of the carry, in every iteration and at the end."""
    loop = while_parts(eqn)
    n_consts = loop.test_consts + loop.body_consts
    consts = roles[loop.test_consts : n_consts]
    return _fixpoint(
        lambda carry: _jaxpr_roles(loop.body, [*consts, *carry]), roles[n_consts:]
    )


def _fixpoint(
    step: Callable[[Sequence[Role]], Sequence[Role]], carry: Sequence[Role]
) -> list[Role]:
    """What the carry depends on in some iteration. A role only ever grows."""
    before, after = None, list(carry)
    while after != before:
        before = after
        after = [a | b for a, b in zip(before, step(before), strict=True)]
    return after


def _jaxpr_roles(program: Called, roles: Sequence[Role]) -> list[Role]:
    jaxpr = program.jaxpr
    known: dict[Any, Role] = dict(zip(jaxpr.invars, roles, strict=True))
    known |= dict.fromkeys(jaxpr.constvars, Role.CONSTANT)

    def role(atom: Any) -> Role:
        return Role.CONSTANT if isinstance(atom, core.Literal) else known[atom]

    for eqn in jaxpr.eqns:
        results = equation_roles(eqn, [role(atom) for atom in eqn.invars])
        known.update(zip(eqn.outvars, results, strict=True))
    return [role(atom) for atom in jaxpr.outvars]
