"""Equations that hold jaxprs: calls, loops and branches, in any version of JAX."""

from typing import Any, NamedTuple

from jax.extend import core

__all__ = [
    "Called",
    "Scan",
    "While",
    "called",
    "opened",
    "scan_parts",
    "while_parts",
]

# Primitive -> the parameter that holds the called jaxpr.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "core_closed_call": "call_jaxpr",
    "remat_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}


class Called(NamedTuple):
    """A jaxpr and the values of its constvars."""

    jaxpr: core.Jaxpr
    consts: list[Any]


class Scan(NamedTuple):
    """A scan: `body` takes consts, carry and slices, and gives carry and slices."""

    body: Called
    consts: int
    carry: int


class While(NamedTuple):
    """A while loop; `test` and `body` take constants of their own, then the carry."""

    test: Called
    test_consts: int
    body: Called
    body_consts: int


def called(eqn: core.JaxprEqn) -> Called | None:
    """The jaxpr that an equation calls once; None if the equation is no such call.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.jit(lambda x: x + 1))(1.0)
    >>> len(called(program.eqns[0]).jaxpr.eqns)
    1
    """
    param = CALLS.get(eqn.primitive.name)
    return None if param is None else opened(eqn.params[param])


def scan_parts(eqn: core.JaxprEqn) -> Scan:
    """The body of a `scan`, and how many operands are constants and carry.

    >>> import jax
    >>> double = lambda xs: jax.lax.map(lambda x: 2 * x, xs)
    >>> program = jax.make_jaxpr(double)(jax.numpy.ones(2))
    >>> scan_parts(program.eqns[-1])[1:]
    (0, 0)
    """
    params = eqn.params
    if "ft_in" in params:  # jax 0.12 keeps a tree of each kind of operand
        consts, carry, _ = (len(list(part)) for part in params["ft_in"].unpack())
    else:
        consts, carry = params["num_consts"], params["num_carry"]
    return Scan(opened(params["jaxpr"]), consts, carry)


def while_parts(eqn: core.JaxprEqn) -> While:
    """The test and the body of a `while`, and how many constants each has.

    >>> import jax
    >>> program = jax.make_jaxpr(
    ...     lambda x, n: jax.lax.while_loop(lambda c: c < n, lambda c: c * 2, x)
    ... )(1.0, 9.0)
    >>> loop = while_parts(program.eqns[-1])
    >>> loop.test_consts, loop.body_consts
    (1, 0)
    """
    params = eqn.params
    return While(
        opened(params["cond_jaxpr"]),
        params["cond_nconsts"],
        opened(params["body_jaxpr"]),
        params["body_nconsts"],
    )


def opened(jaxpr: object) -> Called:
    """A jaxpr apart from its constants, whether it came closed over them or not.

    Args:
      jaxpr: a jaxpr, closed or not: JAX 0.12 has one type where 0.10 has two.

    >>> import jax
    >>> len(opened(jax.make_jaxpr(lambda x: x + 1)(1.0)).jaxpr.eqns)
    1
    """
    inner: Any = getattr(jaxpr, "jaxpr", jaxpr)
    return Called(inner, list(getattr(jaxpr, "consts", ())))
