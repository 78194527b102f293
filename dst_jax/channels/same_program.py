"""Whether two programs compute the same, operation by operation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from dst_jax.jaxprs.binding import bind, typed
from dst_jax.jaxprs.calls import Called, called, opened
from dst_jax.jaxprs.module_paths import path_of
from dst_jax.jaxprs.weight_labels import shape_of

__all__ = ["difference"]

PLAIN = (bool, int, float, str, type(None), tuple, np.dtype)


def difference(program: Called, other: Called) -> str | None:
    """Where two programs part; None if they are one program.

    Calls count as what they call. Programs that compute the same in another order are
    not recognised as one.

    >>> import jax
    >>> mean, half = (jax.make_jaxpr(lambda x: x / n)(1.0) for n in (4.0, 2.0))
    >>> difference(opened(mean), opened(half))
    'div reads 4.0 in one and 2.0 in the other'
    >>> difference(opened(mean), opened(mean))
    """
    with jax.ensure_compile_time_eval():  # of what depends on no input
        steps, others = (list(_steps(p)) for p in (program, other))
    for (step, path), (same, _) in zip(steps, others, strict=False):
        if step == same:
            continue
        (name, *parts), (other_name, *rest) = step, same
        where = f" in {path}" if path else ""
        if name != other_name:
            return f"{name}{where} is {other_name} in the other"
        for kind, one, two in zip(KINDS, parts, rest, strict=True):
            if one != two:
                own, its = _parted(one, two)
                return f"{name}{where} {kind} {own} in one and {its} in the other"
    counts = len(steps), len(others)
    return None if counts[0] == counts[1] else "{} operations are {}".format(*counts)


KINDS = ("reads", "has", "returns")


class _Constant:
    """An array that depends on no input, equal to any of the same values."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return str(self.value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Constant):
            return False
        one, two = np.asarray(self.value), np.asarray(other.value)
        nan = all(np.issubdtype(x.dtype, np.inexact) for x in (one, two))
        return np.array_equal(one, two, equal_nan=nan)

    __hash__ = None  # type: ignore[assignment]


def _steps(program: Called) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every operation as what can be compared, and its path; the results at the end."""
    known: dict[Any, Any] = {}
    inputs = enumerate(program.jaxpr.invars)
    known |= {var: (f"input {i}", shape_of(var)) for i, var in inputs}
    results = yield from _walk(program, known, "", [0])
    yield ("the output", results, (), ()), ""


def _walk(
    program: Called, known: dict[Any, Any], scope: str, count: list[int]
) -> Iterator[Any]:
    for var, value in zip(program.jaxpr.constvars, program.consts, strict=True):
        known[var] = _Constant(value)

    def read(atom: Any) -> Any:
        is_literal = isinstance(atom, core.Literal)
        return _Constant(typed(atom)) if is_literal else known[atom]

    for eqn in program.jaxpr.eqns:
        path = f"{scope}/{eqn.source_info.name_stack}"
        operands = [read(atom) for atom in eqn.invars]
        inner = called(eqn)
        if operands and all(isinstance(x, _Constant) for x in operands):
            results = map(_Constant, bind(eqn, [x.value for x in operands]))
        elif inner is not None:
            own = dict(zip(inner.jaxpr.invars, operands, strict=True))
            results = yield from _walk(inner, own, path, count)
        else:
            shapes = tuple(map(shape_of, eqn.outvars))
            step = (eqn.primitive.name, operands, _plain(eqn.params), shapes)
            yield step, "/".join(path_of(path))
            first, count[0] = count[0], count[0] + len(shapes)
            results = [(f"value {first + i}", s) for i, s in enumerate(shapes)]
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(atom) for atom in program.jaxpr.outvars]


def _plain(params: Mapping[str, Any]) -> Any:
    """The parameters that say what is computed; of bodies, all their operations."""
    found = {k: repr(v) for k, v in params.items() if isinstance(v, PLAIN)}
    found.pop("name", None)
    bodies = core.jaxprs_in_params(dict(params))
    return found, [[step for step, _ in _steps(opened(body))] for body in bodies]


def _parted(one: Any, other: Any) -> tuple[Any, Any]:
    """The first parts in which two sequences or mappings differ."""
    if isinstance(one, dict) and one.keys() == other.keys():
        name = next(name for name in one if one[name] != other[name])
        return f"{name} {one[name]}", other[name]
    if isinstance(one, Sequence) and not isinstance(one, str):
        for a, b in zip(one, other, strict=False):
            if a != b and not isinstance(a, int):
                return _parted(a, b)
    return one, other
