"""Which operand is the weight: followed through the program, from the arguments."""

import enum
import functools
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from jax.extend import core

from dst_jax.jaxprs.dataflow import Domain, NameStacks, results_of

__all__ = ["Role", "activation_side", "equation_roles", "joined"]


class Role(enum.IntFlag):
    """Which arguments a value depends on. A value that depends on both is DATA too."""

    CONSTANT = 0
    WEIGHT = 1
    DATA = 2


def activation_side(lhs: Role, rhs: Role) -> Literal["lhs", "rhs"] | None:
    """The side of the activation; None where neither or both operands are data.

    Any operand that depends on data is an activation. A constant is the weight next
    to data, and the activation next to a weight.

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


class _Roles(Domain[Role]):
    """The result of an equation depends on all of its operands."""

    def constant(self, aval: Any) -> Role:
        del aval
        return Role.CONSTANT

    def either(self, a: Role, b: Role) -> Role:
        return a | b

    def results(
        self, eqn: core.JaxprEqn, operands: Sequence[Role], scope: NameStacks
    ) -> list[Role]:
        del scope
        return [joined(operands)] * len(eqn.outvars)


def equation_roles(eqn: core.JaxprEqn, roles: Sequence[Role]) -> list[Role]:
    """The roles of an equation's results; of a loop's carry, in every iteration.

    A weight stays one where data decide which branch hands it on, or when a loop ends.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda w, x: w * x)(1.0, 2.0)
    >>> equation_roles(program.eqns[0], [Role.WEIGHT, Role.DATA])
    [<Role.WEIGHT|DATA: 3>]
    """
    return results_of(eqn, roles, _Roles())
