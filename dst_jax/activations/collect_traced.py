"""Runs a function of any library and returns the activation maps that it taps."""

import functools
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax import lax
from jax.extend import core
from jaxtyping import Array

from dst_jax.activations.stacked import unstacked
from dst_jax.activations.tap_operation import TAP, batch_first
from dst_jax.jaxprs.binding import bind
from dst_jax.jaxprs.calls import Called, bodies, called, name_of, scan_parts
from dst_jax.jaxprs.mutable_loops import is_rewritten
from dst_jax.jaxprs.traced_function import is_array, traced
from dst_jax.jaxprs.tracing import argument_positions, check_weights
from dst_jax.jaxprs.values import typed

__all__ = ["collect"]

REMAT = ("checkpoint", "remat", "remat2")


class _Map(NamedTuple):
    """What a tap saw, with the axes of loops and of `jax.vmap` in front."""

    name: str
    array: Array
    seen: tuple[Any, ...]


def collect(
    fn: Callable[..., Any], *, weights: int | tuple[int, ...] = 0
) -> Callable[..., tuple[Any, OrderedDict[str, Array]]]:
    """A function that returns the maps at every `tap` of `fn` next to its output.

    It traces `fn` and evaluates the trace, so it works for any library, and its result
    is an ordinary function: jit it, differentiate it, or use it inside a loss. A module
    that is changed in place (NNX in training) keeps its changes only if `fn` returns
    them; with `nnx.capture` and `maps_of` it need not.

    A tap in a scan, or in a `jax.vmap` over layers, has a map for each layer: `relu/0`,
    `relu/1`, ... Layers in a Python list that use one name are numbered alike. Where
    the batch is on the map of a tap that is vmapped or scanned is found by tracing `fn`
    with one example more.

    Args:
      fn: function that taps, with the batch on the first axis of its data.
      weights: positions of the arguments that hold no examples: weights, state, keys.

    Returns:
      A function of the arguments of `fn` that returns `(output, activations)`:
      `activations` maps names to arrays (batch, ...), in order of execution. It is
      empty if `fn` taps nothing.

    Raises:
      TypeError: `weights` is no integer, nor integers.
      ValueError: `weights` names no argument, or, at the call, a tap is in a branch, a
        `while_loop`, a custom derivative or a `shard_map`, two maps have one name, or
        the batch axis of a map is not known.

    >>> import jax.numpy as jnp
    >>> from dst_jax.activations.tap_operation import tap
    >>> fn = lambda w, x: tap(jax.nn.relu(x @ w["fc1"]), "relu1") @ w["fc2"]
    >>> w = {"fc1": jnp.ones((4, 3)), "fc2": jnp.ones((3, 1))}
    >>> logits, maps = collect(fn)(w, jnp.ones((2, 4)))
    >>> {name: x.shape for name, x in maps.items()}
    {'relu1': (2, 3)}
    """
    positions = argument_positions(weights)

    @functools.wraps(fn)
    def collected(*args: Any, **kwargs: Any) -> tuple[Any, OrderedDict[str, Array]]:
        check_weights(positions, args)
        data = [i for i in range(len(args)) if i not in positions]

        def of_data(*examples: Any, **kwargs: Any) -> Any:
            given = dict(enumerate(args)) | dict(zip(data, examples, strict=True))
            output, found = _run_traced(fn, tuple(given.values()), kwargs)
            maps = OrderedDict((name, x.array) for name, x in found.items())
            return output, maps, {name: x.seen for name, x in found.items()}

        examples = tuple(args[i] for i in data)
        output, maps, seen = of_data(*examples, **kwargs)
        return output, unstacked(
            maps, seen, lambda *a, **k: of_data(*a, **k)[1:], examples, kwargs
        )

    return collected


def _run_traced(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, OrderedDict[str, _Map]]:
    """The output of a function, and what its taps saw by name."""
    function = traced(fn, args, kwargs, ())
    arrays = list(filter(is_array, jax.tree.leaves((args, kwargs))))
    results, found = _run(function.program, arrays)
    counts, numbers = Counter(x.name for x in found), Counter()
    named: OrderedDict[str, _Map] = OrderedDict()
    for x in found:
        name = x.name if counts[x.name] == 1 else f"{x.name}/{numbers[x.name]}"
        numbers[x.name] += 1
        if name in named:
            raise ValueError(f"maps must have different names, got two called {name!r}")
        named[name] = x
    return function.returned(results), named


def _run(program: Called, arrays: Sequence[Any]) -> tuple[list[Any], list[_Map]]:
    """The results of a program, and what its taps saw in order of execution."""
    jaxpr, consts = program
    known = dict(zip(jaxpr.invars, arrays, strict=True))
    known |= dict(zip(jaxpr.constvars, consts, strict=True))
    maps: list[_Map] = []

    def read(atom: Any) -> Any:
        is_literal = isinstance(atom, core.Literal)
        return typed(atom.val, atom.aval) if is_literal else known[atom]

    for eqn in jaxpr.eqns:
        with jax.named_scope(str(eqn.source_info.name_stack)):
            results, found = _step(eqn, [read(atom) for atom in eqn.invars])
        known.update(zip(eqn.outvars, results, strict=True))
        maps += found
    return [read(atom) for atom in jaxpr.outvars], maps


def _step(eqn: core.JaxprEqn, operands: list[Any]) -> tuple[list[Any], list[_Map]]:
    """The results of an equation, and what the taps in it saw."""
    if eqn.primitive is TAP:
        (x,), params = operands, eqn.params
        found = _Map(params["name"], batch_first(x, params["batch"]), params["seen"])
        return [x], [found]
    taps = _taps(eqn)
    if eqn.primitive.name == "scan" and (taps or is_rewritten(eqn)):
        return _scan(eqn, operands)
    if not taps:
        return bind(eqn, operands), []
    inner = called(eqn)
    if inner is None or name_of(eqn).startswith("custom_"):
        raise ValueError(
            f"the tap {taps[0]!r} must be outside of {name_of(eqn)!r}: maps are"
            " collected from calls, remat, scan and vmap, and not from branches, while"
            " loops, custom derivatives and shard_map"
        )
    if eqn.primitive.name not in REMAT:
        return _run(inner, operands)
    seen: list[_Map] = []

    def function(*arrays: Any) -> tuple[list[Any], list[Array]]:
        results, seen[:] = _run(inner, arrays)
        return results, [x.array for x in seen]

    options = {k: eqn.params[k] for k in ("prevent_cse", "policy") if k in eqn.params}
    results, maps = jax.checkpoint(function, **options)(*operands)
    return results, _filled(seen, maps)


def _scan(eqn: core.JaxprEqn, operands: list[Any]) -> tuple[list[Any], list[_Map]]:
    """A scan; the maps of its iterations are stacked along a first axis."""
    body, n_consts, n_carry = scan_parts(eqn)
    consts, rest = operands[:n_consts], operands[n_consts:]
    seen: list[_Map] = []

    def step(carry: list[Any], slices: list[Any]) -> Any:
        results, seen[:] = _run(body, [*consts, *carry, *slices])
        results = [
            typed(x, var.aval)
            for x, var in zip(results, body.jaxpr.outvars, strict=True)
        ]
        return results[:n_carry], (results[n_carry:], [x.array for x in seen])

    options = {key: eqn.params[key] for key in ("length", "reverse", "unroll")}
    carry, (ys, maps) = lax.scan(step, rest[:n_carry], rest[n_carry:], **options)
    return [*carry, *ys], _filled(seen, maps)


def _filled(seen: Sequence[_Map], arrays: Sequence[Array]) -> list[_Map]:
    """What taps saw while a body was traced, with the arrays that came out of it."""
    return [x._replace(array=a) for x, a in zip(seen, arrays, strict=True)]


def _taps(eqn: core.JaxprEqn) -> list[str]:
    """The names of all taps in the bodies of an equation."""
    names: list[str] = []
    for body in bodies(eqn):
        for inner in body.eqns:
            own = [inner.params["name"]] if inner.primitive is TAP else _taps(inner)
            names += own
    return names
