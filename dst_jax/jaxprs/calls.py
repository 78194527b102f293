"""Equations that hold jaxprs: calls, loops and branches, in any version of JAX."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.extend import core

from dst_jax.jaxprs.mutable_loops import HIJAX, is_mutable, without_mutable

__all__ = [
    "FOLLOWED",
    "Called",
    "Scan",
    "While",
    "bodies",
    "called",
    "has_rule",
    "name_of",
    "opened",
    "register",
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
    "composite": "jaxpr",
    "eval_jaxpr": "call_jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "core_closed_call": "call_jaxpr",
    "remat_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "custom_partitioning": "call",
}

FOLLOWED = frozenset({"cond", "scan", "shard_map", "while"})
"""Primitives with bodies, besides calls, that every analysis follows or refuses."""

# What a sum over a named axis is, once `jax.vmap` has made an axis of the array of it.
OVER_AXES: dict[str, Callable[..., Any]] = {
    "pmax": lax.reduce_max,
    "pmin": lax.reduce_min,
    "psum": lax.reduce_sum,
}

_RULES: dict[core.Primitive, Callable[..., Any]] = {}


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


def register(primitive: core.Primitive, rule: Callable[..., Any]) -> None:
    """Says what a primitive computes, so that its multiplications are counted.

    The rule holds for every analysis: `cost.count`, `cost.training`, `cost.profile`,
    `cost.surrogate`, `cost.sensitivity`, `kernels.by_use`. It is evaluated in the place
    of the primitive, and comes before what the package knows of it: a product of JAX
    with a rule is counted as the rule multiplies, and what is refused by name is not.

    Args:
      primitive: any primitive but those of loops, branches and `shard_map`, which are
        followed; its last rule holds.
      rule: function `(*operands, **params) -> results` in operations that are counted,
        without the primitive; a list or tuple of results if the primitive has several.

    Raises:
      TypeError: `primitive` is no primitive, or `rule` no function.
      ValueError: `primitive` is that of a loop, a branch or `shard_map`; where it is
        counted, a rule that uses its primitive or returns other shapes or dtypes.

    >>> from jax.extend.core import Primitive
    >>> register(Primitive("my_product"), lambda x, w: x @ w)
    """
    if not isinstance(primitive, core.Primitive):
        raise TypeError(
            f"primitive must be a jax.extend.core.Primitive, got {primitive!r}"
        )
    if primitive.name in FOLLOWED:
        raise ValueError(
            f"primitive must be none of {sorted(FOLLOWED)}, whose bodies are followed,"
            f" got {primitive.name!r}"
        )
    if not callable(rule):
        raise TypeError(f"rule of {primitive.name} must be a function, got {rule!r}")
    _RULES[primitive] = rule


def has_rule(primitive: core.Primitive) -> bool:
    """Whether `register` was called for a primitive.

    >>> has_rule(core.Primitive("unknown"))
    False
    """
    return primitive in _RULES


def called(eqn: core.JaxprEqn) -> Called | None:
    """The jaxpr that an equation calls once; None if the equation is no such call.

    >>> import jax
    >>> program = jax.make_jaxpr(jax.jit(lambda x: x + 1))(1.0)
    >>> len(called(program.eqns[0]).jaxpr.eqns)
    1
    """
    if has_rule(eqn.primitive):
        return _by_rule(eqn)
    if eqn.primitive.name == HIJAX:
        return _expanded(eqn)
    if eqn.primitive.name in OVER_AXES:
        return _over_axes(eqn)
    param = CALLS.get(eqn.primitive.name)
    return None if param is None else opened(eqn.params[param])


def bodies(eqn: core.JaxprEqn) -> list[core.Jaxpr]:
    """The jaxprs that an equation holds, whatever it does with them.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: jax.lax.cond(x > 0, abs, abs, x))(1.0)
    >>> len(bodies(program.eqns[-1]))
    2
    """
    inner = called(eqn)
    if inner is not None:
        return [inner.jaxpr]
    params = eqn.params
    if eqn.primitive.name == HIJAX:
        params = params["_prim"].params
    return [opened(jaxpr).jaxpr for jaxpr in core.jaxprs_in_params(params)]


def name_of(eqn: core.JaxprEqn) -> str:
    """The name of an equation's primitive, for messages and keys.

    >>> import jax
    >>> name_of(jax.make_jaxpr(lambda x: x + 1)(1.0).eqns[0])
    'add'
    """
    if eqn.primitive.name == HIJAX:
        return type(eqn.params["_prim"]).__name__
    return eqn.primitive.name


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

    Its loops over mutable arrays are scans, see `mutable_loops`.

    Args:
      jaxpr: a jaxpr, closed or not: JAX 0.12 has one type where 0.10 has two.

    >>> import jax
    >>> len(opened(jax.make_jaxpr(lambda x: x + 1)(1.0)).jaxpr.eqns)
    1
    """
    inner: Any = getattr(jaxpr, "jaxpr", jaxpr)
    return Called(without_mutable(inner), list(getattr(jaxpr, "consts", ())))


def _by_rule(eqn: core.JaxprEqn) -> Called:
    """The registered rule of a primitive, traced for the operands of an equation."""

    def rule(*operands: Any) -> list[Any]:
        results = _RULES[eqn.primitive](*operands, **eqn.params)
        return list(results) if eqn.primitive.multiple_results else [results]

    program = jax.make_jaxpr(rule)(*[atom.aval for atom in eqn.invars])
    if _uses(eqn.primitive, opened(program).jaxpr):
        raise ValueError(
            f"the rule registered for {eqn.primitive.name!r} must not use it: it is"
            " evaluated in its place"
        )
    found: list[Any] = list(program.out_avals)
    wanted: list[Any] = [var.aval for var in eqn.outvars]
    if [(x.shape, x.dtype) for x in found] != [(x.shape, x.dtype) for x in wanted]:
        raise ValueError(
            f"the rule registered for {eqn.primitive.name!r} must return "
            f"{[x.str_short() for x in wanted]}, got {[x.str_short() for x in found]}"
        )
    return opened(program)


def _uses(primitive: core.Primitive, jaxpr: core.Jaxpr) -> bool:
    return any(
        eqn.primitive is primitive
        or any(
            _uses(primitive, opened(body).jaxpr)
            for body in core.jaxprs_in_params(eqn.params)
        )
        for eqn in jaxpr.eqns
    )


def _over_axes(eqn: core.JaxprEqn) -> Called | None:
    """A reduction along axes of its operands; None if it is one over devices."""
    axes = eqn.params["axes"]
    if eqn.params["axis_index_groups"] is not None or not all(
        isinstance(axis, int) for axis in axes
    ):
        return None
    reduce = OVER_AXES[eqn.primitive.name]

    def reduced(*operands: Any) -> list[Any]:
        return [reduce(x, axes=axes) for x in operands]

    return opened(jax.make_jaxpr(reduced)(*[atom.aval for atom in eqn.invars]))


def _expanded(eqn: core.JaxprEqn) -> Called | None:
    """What a primitive of hijax expands to; None if it has other operands than arrays.

    A mutable array is none: other equations see what the primitive writes to it.
    """
    primitive = eqn.params["_prim"]
    avals: list[Any] = [atom.aval for atom in eqn.invars]
    if any(is_mutable(aval) or not hasattr(aval, "shape") for aval in avals):
        return None

    def expand(*operands: Any) -> list[Any]:
        result = primitive.expand(*primitive.in_tree.unflatten(operands))
        return primitive.out_tree.flatten_up_to(result)

    try:
        program = opened(jax.make_jaxpr(expand)(*avals))
    except NotImplementedError:  # a primitive of hijax need not say what it expands to
        return None
    mutable = any(is_mutable(var.aval) for e in program.jaxpr.eqns for var in e.outvars)
    return None if mutable else program
