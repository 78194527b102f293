"""Loops over mutable arrays, as `jax.lax.scan` writes them with `JAX_SCAN3=1`.

The carry of such a loop is in mutable arrays, which the loop reads and writes. They
are local: made in front of the loop, and read after it. So the loop can be written as
a scan whose carry is made of values, which every analysis knows.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.extend import core

__all__ = ["is_mutable", "is_rewritten", "without_mutable"]

HIJAX = "call_hi_primitive"
"""Primitive that holds an object of `jax.experimental.hijax`."""

REWRITTEN = "dst_jax_rewritten"


class _Rewritten(NamedTuple):
    """The equations, results and last values of mutable arrays, without these."""

    eqns: list[core.JaxprEqn]
    results: list[Any]
    values: dict[Any, Any]


def is_mutable(aval: Any) -> bool:
    """Whether a variable of that type is a mutable array (`jax.Ref`).

    >>> import jax
    >>> is_mutable(jax.typeof(1.0)), is_mutable(jax.typeof(jax.new_ref(1.0)))
    (False, True)
    """
    return hasattr(aval, "inner_aval")


def is_rewritten(eqn: core.JaxprEqn) -> bool:
    """Whether an equation is a scan by `without_mutable`, which JAX cannot bind.

    >>> import jax
    >>> is_rewritten(jax.make_jaxpr(lambda x: x + 1)(1.0).eqns[0])
    False
    """
    return REWRITTEN in eqn.params


def without_mutable(jaxpr: core.Jaxpr) -> core.Jaxpr:
    """A jaxpr whose loops over mutable arrays are scans; as it is if it has none.

    It stays as it is, too, where a mutable array is read in part or by anything else
    and where a loop is reversed.

    >>> import jax
    >>> plain = jax.make_jaxpr(lambda x: x + 1)(1.0).jaxpr
    >>> without_mutable(plain) is plain
    True
    """
    if not any(map(_is_loop, jaxpr.eqns)):
        return jaxpr
    found = _rewritten(jaxpr, {})
    if found is None:
        return jaxpr
    return jaxpr.replace(eqns=found.eqns, outvars=found.results)


def _is_loop(eqn: core.JaxprEqn) -> bool:
    if eqn.primitive.name != HIJAX:
        return False
    return {"extensives", "jaxpr", "length"} <= eqn.params["_prim"].params.keys()


def _rewritten(jaxpr: core.Jaxpr, values: dict[Any, Any]) -> _Rewritten | None:
    """The jaxpr with values in the place of mutable arrays; None if it needs these.

    Args:
      jaxpr: the jaxpr.
      values: first value of each mutable array among the inputs.
    """
    values, same = dict(values), {}

    def now(atom: Any) -> Any:
        return atom if isinstance(atom, core.Literal) else same.get(atom, atom)

    eqns: list[core.JaxprEqn] = []
    for eqn in jaxpr.eqns:
        operands = [now(atom) for atom in eqn.invars]
        array = operands[0] if operands else None
        if eqn.primitive.name == "new_ref":
            values[eqn.outvars[0]] = array
        elif _is_loop(eqn):
            loop = _scan(eqn, operands, values)
            if loop is None:
                return None
            eqns.append(loop)
        elif not any(is_mutable(atom.aval) for atom in eqn.invars):
            eqns.append(eqn.replace(invars=operands))
        elif _is_whole(eqn) and array in values:
            same[eqn.outvars[0]] = values[array]
            values[array] = operands[1] if len(operands) > 1 else values[array]
        else:
            return None
    return _Rewritten(eqns, [now(atom) for atom in jaxpr.outvars], values)


def _is_whole(eqn: core.JaxprEqn) -> bool:
    """Whether an equation reads, or reads and writes, a whole mutable array."""
    length = {"get": 1, "swap": 2}.get(eqn.primitive.name)
    avals: list[Any] = [eqn.invars[0].aval, eqn.outvars[0].aval]
    return len(eqn.invars) == length and avals[0].shape == avals[1].shape


def _scan(
    eqn: core.JaxprEqn, operands: Sequence[Any], values: dict[Any, Any]
) -> core.JaxprEqn | None:
    """A loop as a `scan` of values, which it puts into `values`."""
    params = eqn.params["_prim"].params
    body = getattr(params["jaxpr"], "jaxpr", params["jaxpr"])
    arrays = [i for i, x in enumerate(operands) if is_mutable(x.aval)]
    slices = [i for i, sliced in enumerate(params["extensives"]) if sliced]
    consts = [i for i in range(len(operands)) if i not in {*arrays, *slices}]
    if body.constvars or any(operands[i] not in values for i in arrays):
        return None
    if params["reverse"]:
        return None  # JAX 0.12.0 runs it forwards
    fresh = core.gensym()
    carry = [fresh(operands[i].aval.inner_aval) for i in arrays]
    inside = dict(zip((body.invars[i] for i in arrays), carry, strict=True))
    found = _rewritten(body, inside)
    if found is None:
        return None
    scanned = body.replace(
        invars=[body.invars[i] for i in consts]
        + carry
        + [body.invars[i] for i in slices],
        outvars=[found.values[body.invars[i]] for i in arrays] + found.results,
        eqns=found.eqns,
        effects=core.no_effects,
    )
    inputs = [operands[i] for i in consts] + [values[operands[i]] for i in arrays]
    after = [fresh(var.aval) for var in carry]
    values.update(zip((operands[i] for i in arrays), after, strict=True))
    return eqn.replace(
        primitive=core.primitives.scan_p,
        invars=inputs + [operands[i] for i in slices],
        outvars=[*after, *eqn.outvars],
        params={
            "jaxpr": scanned,
            "num_consts": len(consts),
            "num_carry": len(arrays),
            "length": params["length"],
            "reverse": params["reverse"],
            "unroll": params["unroll"],
            REWRITTEN: True,
        },
        effects=core.no_effects,
    )
