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
    """The jaxpr that an equation calls once; None if the equation is no such call."""
    param = CALLS.get(eqn.primitive.name)
    return None if param is None else opened(eqn.params[param])


def scan_parts(eqn: core.JaxprEqn) -> Scan:
    """The body of a `scan`, and how many operands are constants and carry."""
    params = eqn.params
    if "ft_in" in params:  # jax 0.12 keeps a tree of each kind of operand
        consts, carry, _ = (len(list(part)) for part in params["ft_in"].unpack())
    else:
        consts, carry = params["num_consts"], params["num_carry"]
    return Scan(opened(params["jaxpr"]), consts, carry)


def while_parts(eqn: core.JaxprEqn) -> While:
    """The test and the body of a `while`, and how many constants each has."""
    params = eqn.params
    return While(
        opened(params["cond_jaxpr"]),
        params["cond_nconsts"],
        opened(params["body_jaxpr"]),
        params["body_nconsts"],
    )


def opened(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> Called:
    """A jaxpr apart from its constants, whether it came closed over them or not."""
    inner: Any = getattr(jaxpr, "jaxpr", jaxpr)
    return Called(inner, list(getattr(jaxpr, "consts", ())))
