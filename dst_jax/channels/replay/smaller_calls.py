"""Calls, loops and branches on what is kept: they stay calls, loops and branches."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend import core
from jaxtyping import Array

from dst_jax.channels.axis_units import AxisUnits
from dst_jax.channels.replay.held_positions import Small
from dst_jax.jaxprs.binding import bind
from dst_jax.jaxprs.calls import CALLS as CALLED
from dst_jax.jaxprs.calls import Called, called, opened, scan_parts, while_parts
from dst_jax.jaxprs.dataflow import NameStacks

__all__ = ["CALLS", "Player"]


@runtime_checkable
class Player(Protocol):
    """What replays a program, see `interpreter.Replay`."""

    def run(
        self, program: Called, inputs: Sequence[Small], scope: NameStacks = ()
    ) -> list[Small]:
        """The results of a program on smaller inputs."""
        ...

    def relaid(self, value: Small, units: AxisUnits) -> Array:
        """The array of a value, with the positions that other units keep."""
        ...

    def element(self, units: AxisUnits, scan: core.JaxprEqn) -> AxisUnits:
        """The units of what a scan takes off."""
        ...

    def run_derived(self, program: Called, inputs: Sequence[Small]) -> list[Array]:
        """The results of a program that has been derived from a part of this one."""
        ...


def _function(
    player: Player, eqn: core.JaxprEqn, operands: Sequence[Small], scope: NameStacks
) -> Callable[..., list[Array]]:
    """The jaxpr that an equation calls, as a function of smaller arrays."""
    program = called(eqn)
    units = [x.units for x in operands]
    assert program is not None  # the equation is in `CALLED`

    def function(*arrays: Array) -> list[Array]:
        inputs = list(map(Small, arrays, units))
        return [x.array for x in player.run(program, inputs, scope)]

    function.__name__ = str(eqn.params.get("name", eqn.primitive.name))
    return function


def _jit(
    player: Player,
    eqn: core.JaxprEqn,
    operands: Sequence[Small],
    units: Sequence[AxisUnits],
    scope: NameStacks,
) -> list[Array]:
    del units
    function = _function(player, eqn, operands, scope)
    return jax.jit(function)(*(x.array for x in operands))


def _remat(
    player: Player,
    eqn: core.JaxprEqn,
    operands: Sequence[Small],
    units: Sequence[AxisUnits],
    scope: NameStacks,
) -> list[Array]:
    del units
    options = {k: eqn.params[k] for k in ("prevent_cse", "policy") if k in eqn.params}
    function = _function(player, eqn, operands, scope)
    return jax.checkpoint(function, **options)(*(x.array for x in operands))


def _custom_jvp(
    player: Player,
    eqn: core.JaxprEqn,
    operands: Sequence[Small],
    units: Sequence[AxisUnits],
    scope: NameStacks,
) -> list[Array]:
    """The rule for derivatives is replayed too, as JAX traces it on whole arrays."""
    del units
    function = jax.custom_jvp(_function(player, eqn, operands, scope))

    @function.defjvp
    def rule(primals: Sequence[Array], tangents: Sequence[Array]) -> Any:
        floats = _floats(eqn)

        def both(primals: list[Any], tangents: list[Any]) -> Any:
            of_floats = _of_floats(eqn, primals)
            return jax.jvp(of_floats, [primals[i] for i in floats], tangents)

        own = [x.units for x in operands]
        inputs = [*primals, *(tangents[i] for i in floats)]
        known = [*own, *(own[i] for i in floats)]
        full = [_abstract(atom) for atom in eqn.invars]
        program = opened(jax.make_jaxpr(both)(full, [full[i] for i in floats]))
        arrays = player.run_derived(program, list(map(Small, inputs, known)))
        return arrays[: len(arrays) // 2], arrays[len(arrays) // 2 :]

    return function(*(x.array for x in operands))


def _custom_vjp(
    player: Player,
    eqn: core.JaxprEqn,
    operands: Sequence[Small],
    units: Sequence[AxisUnits],
    scope: NameStacks,
) -> list[Array]:
    """As `_custom_jvp`; the forward pass is computed once more for the gradients."""
    function = jax.custom_vjp(_function(player, eqn, operands, scope))
    floats = _floats(eqn)

    def forward(*arrays: Array) -> Any:
        return function(*arrays), arrays

    def backward(arrays: Sequence[Array], gradients: Sequence[Array]) -> Any:
        def whole(primals: list[Any], gradients: list[Any]) -> Any:
            of_floats = _of_floats(eqn, primals)
            return jax.vjp(of_floats, *(primals[i] for i in floats))[1](gradients)

        full = [_abstract(atom) for atom in eqn.invars]
        results = [_abstract(var) for var in eqn.outvars]
        program = opened(jax.make_jaxpr(whole)(full, results))
        known = [*(x.units for x in operands), *units]
        inputs = list(map(Small, [*arrays, *gradients], known))
        own = dict(zip(floats, player.run_derived(program, inputs), strict=True))
        return tuple(own.get(i) for i in range(len(arrays)))

    function.defvjp(forward, backward)
    return function(*(x.array for x in operands))


def _floats(eqn: core.JaxprEqn) -> list[int]:
    """The operands that have derivatives."""
    types = [_abstract(atom).dtype for atom in eqn.invars]
    return [i for i, dtype in enumerate(types) if jnp.issubdtype(dtype, jnp.inexact)]


def _of_floats(
    eqn: core.JaxprEqn, operands: Sequence[Any]
) -> Callable[..., list[Array]]:
    """An equation as a function of the operands that have derivatives."""
    floats = _floats(eqn)

    def function(*given: Any) -> list[Array]:
        filled = dict(enumerate(operands)) | dict(zip(floats, given, strict=True))
        return bind(eqn, list(filled.values()))

    return function


def _abstract(atom: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype)


def _cond(
    player: Player,
    eqn: core.JaxprEqn,
    operands: Sequence[Small],
    units: Sequence[AxisUnits],
    scope: NameStacks,
) -> list[Array]:
    index, *rest = operands

    def branch(program: Called) -> Callable[..., list[Array]]:
        def function(*arrays: Array) -> list[Array]:
            inputs = [Small(a, x.units) for a, x in zip(arrays, rest, strict=True)]
            results = player.run(program, inputs, scope)
            return list(map(player.relaid, results, units))

        return function

    branches = [branch(opened(jaxpr)) for jaxpr in eqn.params["branches"]]
    return lax.switch(index.array, branches, *(x.array for x in rest))


def _scan(
    player: Player,
    eqn: core.JaxprEqn,
    operands: Sequence[Small],
    units: Sequence[AxisUnits],
    scope: NameStacks,
) -> list[Array]:
    program, n_consts, n_carry = scan_parts(eqn)
    consts = list(operands[:n_consts])
    carry, xs = operands[n_consts : n_consts + n_carry], operands[n_consts + n_carry :]
    parts = [player.element(x.units, eqn) for x in xs]

    def step(state: list[Array], slices: list[Array]) -> Any:
        inputs = [*consts, *map(Small, state, units), *map(Small, slices, parts)]
        results = player.run(program, inputs, scope)
        after = list(map(player.relaid, results[:n_carry], units))
        return after, [x.array for x in results[n_carry:]]

    options = {name: eqn.params[name] for name in ("length", "reverse", "unroll")}
    start = list(map(player.relaid, carry, units))
    after, ys = lax.scan(step, start, [x.array for x in xs], **options)
    return [*after, *ys]


def _while(
    player: Player,
    eqn: core.JaxprEqn,
    operands: Sequence[Small],
    units: Sequence[AxisUnits],
    scope: NameStacks,
) -> list[Array]:
    loop = while_parts(eqn)
    n_consts = loop.test_consts + loop.body_consts
    test_consts = list(operands[: loop.test_consts])
    consts = list(operands[loop.test_consts : n_consts])

    def test(state: list[Array]) -> Array:
        inputs = [*test_consts, *map(Small, state, units)]
        return player.run(loop.test, inputs, scope)[0].array

    def body(state: list[Array]) -> list[Array]:
        inputs = [*consts, *map(Small, state, units)]
        return list(map(player.relaid, player.run(loop.body, inputs, scope), units))

    start = list(map(player.relaid, operands[n_consts:], units))
    return lax.while_loop(test, body, start)


CALLS = {
    **dict.fromkeys(CALLED, _jit),
    **dict.fromkeys(("checkpoint", "remat", "remat2", "remat_call"), _remat),
    **dict.fromkeys(("custom_vjp_call", "custom_vjp_call_jaxpr"), _custom_vjp),
    "cond": _cond,
    "custom_jvp_call": _custom_jvp,
    "scan": _scan,
    "while": _while,
}
