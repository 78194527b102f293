"""`jax.lax.map` that computes once what many elements have in common."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jaxtyping import Array

from dst_jax.jaxprs.binding import bind
from dst_jax.jaxprs.calls import Called, bodies, called, opened
from dst_jax.jaxprs.distinct_rows import at_distinct, distinct_rows
from dst_jax.jaxprs.mutable_loops import is_mutable, is_rewritten

__all__ = ["map_distinct"]

PLAIN_CALLS = ("jit", "pjit", "closed_call", "core_call", "core_closed_call")
SMALL = 16  # elements: what is no larger costs about as much as a number
WORK = 1 << 20  # elements that are computed at a time, so that they stay in the cache


class _Parts(NamedTuple):
    """The equations of a program, by how often they have to be evaluated.

    Attributes:
      program: program without calls.
      fixed: equations that read no input: once.
      shared: those that read `key` alone: once for every distinct row of it.
      own: all others, without large arrays: once for every element.
      key: places of the inputs that large arrays depend on, all whole numbers.
    """

    program: Called
    fixed: list[core.JaxprEqn]
    shared: list[core.JaxprEqn]
    own: list[core.JaxprEqn]
    key: list[int]


def map_distinct(fn: Callable[[Any], Any], xs: Any, *, batch_size: int) -> Any:
    """`jax.lax.map(fn, xs, batch_size=batch_size)`, mostly with less work.

    The function is traced. If each of its arrays of more than 16 elements depends on
    whole numbers alone, among those in which elements of `xs` differ, these arrays are
    computed once for every distinct row of those numbers, and what is left is
    elementwise. The rows are found on the device, so all of it can be jitted. Any other
    function is left to `jax.lax.map`.

    Args:
      fn: function of one element; returns a pytree of arrays.
      xs: pytree of arrays, whose leading axis is mapped over.
      batch_size: number of elements whose large arrays are computed at a time.

    >>> def cycles(lanes, clock):  # groups of 0 to 99 products, on some lanes
    ...     return ((jnp.arange(100) + lanes - 1) // lanes).sum() / clock
    >>> xs = jnp.array([1, 2, 1]), jnp.array([1.0, 2.0, 3.0])
    >>> map_distinct(lambda x: cycles(*x), xs, batch_size=2).tolist()  # 4950, 2500
    [4950.0, 1250.0, 1650.0]
    """
    leaves, structure = jax.tree.flatten(xs)
    elements = [jax.ShapeDtypeStruct(x.shape[1:], x.dtype) for x in leaves]
    closed, out = jax.make_jaxpr(
        lambda *element: fn(jax.tree.unflatten(structure, element)), return_shape=True
    )(*elements)
    parts = _parts(opened(closed)) if len(leaves[0]) else None
    if parts is None:
        return lax.map(fn, xs, batch_size=batch_size)
    run = jax.jit(functools.partial(_mapped, parts, batch_size))
    results = run(parts.program.consts, leaves)
    return jax.tree.unflatten(jax.tree.structure(out), results)


def _parts(program: Called) -> _Parts | None:
    """The parts of a program, or None if a large array depends on other inputs."""
    avals: list[Any] = [var.aval for var in program.jaxpr.invars]
    if program.jaxpr.effects or not all(map(_is_pure, _equations(program.jaxpr))):
        return None
    flat = opened(jax.make_jaxpr(functools.partial(_without_calls, program))(*avals))
    none: frozenset[int] = frozenset()
    reads = {var: frozenset([i]) for i, var in enumerate(flat.jaxpr.invars)}

    eqns: list[tuple[core.JaxprEqn, frozenset[int]]] = []
    for eqn in flat.jaxpr.eqns:
        operands = (reads.get(var, none) for var in _variables(eqn.invars))
        eqns.append((eqn, none.union(*operands)))
        reads |= dict.fromkeys(eqn.outvars, eqns[-1][1])
    key = none.union(*(on for eqn, on in eqns if on and _largest(eqn) > SMALL))
    if not all(avals[i].shape == () and _is_whole(avals[i]) for i in key):
        return None
    return _Parts(
        program=flat,
        fixed=[eqn for eqn, on in eqns if not on],
        shared=[eqn for eqn, on in eqns if on and on <= key],
        own=[eqn for eqn, on in eqns if not on <= key],
        key=sorted(key),
    )


def _mapped(
    parts: _Parts, batch_size: int, consts: Sequence[Any], xs: Sequence[Array]
) -> list[Array]:
    """The results of a program for every element."""
    jaxpr = parts.program.jaxpr
    fixed = _evaluated(parts.fixed, dict(zip(jaxpr.constvars, consts, strict=True)))
    wanted = _variables([*jaxpr.outvars, *(x for eqn in parts.own for x in eqn.invars)])
    made = {var for eqn in parts.shared for var in eqn.outvars}
    passed = [var for var in dict.fromkeys(wanted) if var in made]

    def of_row(index: Array) -> list[Array]:
        row = {jaxpr.invars[i]: xs[i][index] for i in parts.key}
        known = _evaluated(parts.shared, fixed | row)
        return [known[var] for var in passed]

    def of_element(element: Sequence[Array], shared: Sequence[Array]) -> list[Any]:
        known = fixed | dict(zip(jaxpr.invars, element, strict=True))
        known = _evaluated(parts.own, known | dict(zip(passed, shared, strict=True)))
        return [jnp.asarray(_value(known, atom)) for atom in jaxpr.outvars]

    shared: list[Array] = []
    if parts.key:
        rows = distinct_rows([xs[i] for i in parts.key])
        work = sum(map(_size, made))
        at_once = min(batch_size, max(WORK // max(work, 1), 1))
        found = at_distinct(of_row, rows, batch_size=at_once)
        shared = [x[rows.kind] for x in found]
    return jax.vmap(of_element)(list(xs), shared)


def _without_calls(program: Called, *args: Any) -> list[Any]:
    """The results of a program, whose calls of functions disappear when traced."""
    jaxpr, consts = program
    known = dict(zip(jaxpr.constvars, consts, strict=True))
    known |= dict(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        inner = called(eqn) if eqn.primitive.name in PLAIN_CALLS else None
        operands = [_value(known, atom) for atom in eqn.invars]
        if inner is None:
            results = bind(eqn, operands)
        else:
            results = _without_calls(inner, *operands)
        known.update(zip(eqn.outvars, results, strict=True))
    return [_value(known, atom) for atom in jaxpr.outvars]


def _evaluated(
    eqns: Iterable[core.JaxprEqn], known: dict[core.Var, Any]
) -> dict[core.Var, Any]:
    """Values of variables, and those of the results of equations."""
    known = dict(known)
    for eqn in eqns:
        results = bind(eqn, [_value(known, atom) for atom in eqn.invars])
        known.update(zip(eqn.outvars, results, strict=True))
    return known


def _value(known: dict[core.Var, Any], atom: Any) -> Any:
    return atom.val if isinstance(atom, core.Literal) else known[atom]


def _variables(atoms: Iterable[Any]) -> list[core.Var]:
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def _equations(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
    """The equations of a program and of all that they hold."""
    for eqn in jaxpr.eqns:
        yield eqn
        for body in bodies(eqn):
            yield from _equations(body)


def _is_pure(eqn: core.JaxprEqn) -> bool:
    """Whether an equation has no mutable arrays."""
    mutable = any(is_mutable(atom.aval) for atom in (*eqn.invars, *eqn.outvars))
    return not mutable and not is_rewritten(eqn)


def _largest(eqn: core.JaxprEqn) -> int:
    """The number of elements of the largest array that an equation deals with."""
    inside = (inner for body in bodies(eqn) for inner in _equations(body))
    return max(_size(x) for e in (eqn, *inside) for x in (*e.invars, *e.outvars))


def _size(atom: Any) -> int:
    return math.prod(atom.aval.shape)


def _is_whole(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.integer)
