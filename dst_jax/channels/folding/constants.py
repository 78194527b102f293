"""What is known of an operation's results, from what is known of its operands."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dst_jax.channels.axis_units import Bools
from dst_jax.channels.folding.moves import MOVES, moved
from dst_jax.channels.folding.partial_values import (
    Numbers,
    PartialValue,
    known,
    stretched,
    unknown,
)
from dst_jax.channels.folding.sums import summed
from dst_jax.channels.rules.elementwise import ANY, ELEMENTWISE
from dst_jax.jaxprs.binding import bind
from dst_jax.jaxprs.weight_labels import shape_of

__all__ = ["constants"]

EXTREMES = {"reduce_max": np.max, "reduce_min": np.min}
WINDOWS = ("reduce_window_max", "reduce_window_min")


def constants(
    eqn: core.JaxprEqn, operands: Sequence[PartialValue]
) -> list[PartialValue]:
    """What is known of the results of an equation that is no call.

    >>> import jax
    >>> eqn = jax.make_jaxpr(lambda x, y: x * y)(jnp.ones(2), jnp.ones(2)).eqns[0]
    >>> zeros = known(np.array([0.0, 3.0], np.float32))
    >>> constants(eqn, [unknown(1), zeros])[0].known.tolist()
    [True, False]
    """
    name, given = eqn.primitive.name, [shape_of(atom) for atom in eqn.invars]
    if not all(hasattr(var.aval, "shape") for var in eqn.outvars):
        return [unknown(0) for _ in eqn.outvars]
    nothing = [unknown(len(shape_of(var)), np.float32) for var in eqn.outvars]
    if operands and not any(x.known.any() for x in operands):
        return nothing
    if name in MOVES:
        shape = shape_of(eqn.outvars[0])
        parts = ([x.number for x in operands], [x.known for x in operands])
        number, mask = (moved(name, eqn.params, p, given, shape) for p in parts)
        return [PartialValue(number, mask)]
    if name in ELEMENTWISE:
        return [_elementwise(eqn, operands)]
    if (found := _summed(eqn, operands, given)) is not None:
        return [found]
    if name in EXTREMES:
        x, axes = operands[0], tuple(eqn.params["axes"])
        number = np.asarray(EXTREMES[name](x.number, axes))
        return [PartialValue(number, np.asarray(x.known.all(axes)))]
    if name in WINDOWS:
        return [_uniform(operands[0], eqn.params["window_dimensions"])]
    if all(x.whole for x in operands):
        pairs = zip(operands, given, strict=True)
        arrays = [stretched(x.number, range(len(s)), s) for x, s in pairs]
        return [known(y) for y in bind(eqn, list(map(jnp.asarray, arrays)))]
    return nothing


def _elementwise(eqn: core.JaxprEqn, operands: Sequence[PartialValue]) -> PartialValue:
    rank = len(shape_of(eqn.outvars[0]))
    ranked = [
        x
        if x.number.ndim == rank
        else PartialValue(*(a.reshape((1,) * rank) for a in x))
        for x in operands
    ]
    mask: Bools = np.ones((1,) * rank, bool)
    for x in ranked:
        mask = mask & x.known
    for x in ranked if eqn.primitive.name in ANY else ():
        mask = mask | x.zero
    if not mask.any():
        return unknown(rank)
    numbers = np.broadcast_arrays(*(np.where(x.known, x.number, 0) for x in ranked))
    (result,) = bind(
        eqn,
        [jnp.asarray(n, x.number.dtype) for n, x in zip(numbers, ranked, strict=True)],
    )
    return PartialValue(np.asarray(result), mask)


def _summed(
    eqn: core.JaxprEqn,
    operands: Sequence[PartialValue],
    given: Sequence[tuple[int, ...]],
) -> PartialValue | None:
    found = summed(eqn.primitive.name, eqn.params, operands, given)
    if found is None:
        return None
    x = operands[found.operand]
    open_: Bools = ~x.known
    if found.edges:
        open_ = open_ | (x.number != 0)
    rank = len(shape_of(eqn.outvars[0]))
    result: Any = eqn.outvars[0].aval
    shape = np.broadcast_shapes(x.number.shape, x.known.shape)
    if any(shape[axis] != 1 for axis in found.window):
        return unknown(rank)
    number: Numbers = found.of(np.where(open_, 0, x.number))
    return PartialValue(number.astype(result.dtype), ~found.reads(open_))


def _uniform(x: PartialValue, sizes: Sequence[int]) -> PartialValue:
    """A value along whose windows nothing differs."""
    shape = np.broadcast_shapes(x.number.shape, x.known.shape)
    differs = any(n != 1 and m != 1 for n, m in zip(sizes, shape, strict=True))
    return unknown(len(shape)) if differs else x
