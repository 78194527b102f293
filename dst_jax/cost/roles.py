"""Which operand is the weight: followed through the program, from the arguments."""

import enum
import functools
import operator
from collections.abc import Sequence
from typing import Any, Literal

from jax.extend import core

from dst_jax.cost.calls import called

__all__ = ["Role", "activation_side", "equation_roles"]


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


def equation_roles(eqn: core.JaxprEqn, roles: Sequence[Role]) -> list[Role]:
    """The roles of an equation's results.

    Through a call each result is followed on its own; a result of any other equation
    depends on all operands.
    """
    inner = called(eqn)
    if inner is not None:
        return _jaxpr_roles(inner.jaxpr, roles)
    joined = functools.reduce(operator.or_, roles, Role.CONSTANT)
    return [joined] * len(eqn.outvars)


def _jaxpr_roles(jaxpr: core.Jaxpr, roles: Sequence[Role]) -> list[Role]:
    known: dict[Any, Role] = dict(zip(jaxpr.invars, roles, strict=True))
    known |= dict.fromkeys(jaxpr.constvars, Role.CONSTANT)

    def role(atom: Any) -> Role:
        return Role.CONSTANT if isinstance(atom, core.Literal) else known[atom]

    for eqn in jaxpr.eqns:
        results = equation_roles(eqn, [role(atom) for atom in eqn.invars])
        known.update(zip(eqn.outvars, results, strict=True))
    return [role(atom) for atom in jaxpr.outvars]
