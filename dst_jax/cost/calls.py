"""Equations that call a jaxpr on their operands, once and in order."""

from typing import Any, NamedTuple

from jax.extend import core

__all__ = ["Called", "called"]

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


def called(eqn: core.JaxprEqn) -> Called | None:
    """The jaxpr that an equation calls; None if the equation is no call."""
    param = CALLS.get(eqn.primitive.name)
    return None if param is None else opened(eqn.params[param])


def opened(jaxpr: core.ClosedJaxpr | core.Jaxpr) -> Called:
    """A jaxpr apart from its constants, whether it came closed over them or not."""
    inner: Any = getattr(jaxpr, "jaxpr", jaxpr)
    return Called(inner, list(getattr(jaxpr, "consts", ())))
