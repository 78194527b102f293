"""Where operations that move elements move the axes of their operands."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jax.extend import core

from dst_jax.jaxprs.axis_pieces import (
    Axes,
    Piece,
    extent,
    missing,
    origins,
    resized,
    single,
)

__all__ = ["matched", "moves"]


def moves(eqn: core.JaxprEqn, operand: int) -> list[Callable[[Axes], Axes]] | None:
    """Where an operation moves the axes of an operand, one function for every result.

    Args:
      eqn: the equation.
      operand: position of the operand.

    Returns:
      Functions from the axes of the operand to those of each result; None if the
      operation does more with the operand than to move its elements or to reduce axes.

    >>> import jax
    >>> from dst_jax.jaxprs.axis_pieces import whole
    >>> program = jax.make_jaxpr(lambda x: x.T)(jax.numpy.ones((2, 3)))
    >>> (move,) = moves(program.eqns[0], 0)
    >>> move(whole((2, 3))) == whole((2, 3))[::-1]
    True
    """
    name = eqn.primitive.name
    reduces = name.startswith("reduce_") and "axes" in eqn.params
    rule, operands = (_reduced, 1) if reduces else RULES.get(name, (None, 0))
    if rule is None or operand >= operands:
        return None
    results: list[Any] = [var.aval for var in eqn.outvars]
    return [
        functools.partial(rule, params=eqn.params, shape=aval.shape) for aval in results
    ]


def _reduced(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    del shape
    return tuple(axis for i, axis in enumerate(axes) if i not in params["axes"])


def _transposed(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    del shape
    return tuple(axes[i] for i in params["permutation"])


def _squeezed(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    del shape
    return tuple(axis for i, axis in enumerate(axes) if i not in params["dimensions"])


def _unstacked(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    del shape
    return tuple(axis for i, axis in enumerate(axes) if i != params["axis"])


def _stacked(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    at = params["axis"]
    return (*axes[:at], *missing(shape[at : at + 1]), *axes[at:])


def _broadcast_in(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    result = list(missing(shape))
    for axis, i in zip(axes, params["broadcast_dimensions"], strict=True):
        if extent(axis) == shape[i]:
            result[i] = axis
    return tuple(result)


def _resized(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    del params
    return resized(axes, shape)


def _gathered(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    if params["tiled"]:
        return _resized(axes, params, shape)
    return _stacked(axes, {"axis": params["all_gather_dimension"]}, shape)


def _reshaped(axes: Axes, params: dict[str, Any], shape: Sequence[int]) -> Axes:
    order = params["dimensions"]
    axes = axes if order is None else tuple(axes[i] for i in order)
    result: list[tuple[Piece, ...]] = []
    for before, after in matched([extent(axis) for axis in axes], shape):
        pieces = [piece for axis in axes[before] for piece in axis]
        result += _distributed(pieces, shape[after])
    return tuple(result)


# Primitive -> how it moves axes, and how many of its operands it moves.
RULES: dict[str, tuple[Callable[..., Axes], float]] = {
    "all_gather": (_gathered, 1),
    "broadcast_in_dim": (_broadcast_in, 1),
    "concatenate": (_resized, math.inf),
    "dynamic_slice": (_resized, 1),
    "dynamic_update_slice": (_resized, 2),
    "pad": (_resized, 1),
    "reshape": (_reshaped, 1),
    "slice": (_resized, 1),
    "split": (_resized, 1),
    "squeeze": (_squeezed, 1),
    "stack": (_stacked, math.inf),
    "tile": (_resized, 1),
    "transpose": (_transposed, 1),
    "unstack": (_unstacked, 1),
}
RULES |= {
    f"scatter{suffix}": (_resized, 1)
    for suffix in ("", "-add", "-sub", "-mul", "-min", "-max")
}


def matched(
    before: Sequence[int], after: Sequence[int]
) -> Iterator[tuple[slice, slice]]:
    """The shortest runs of axes of two shapes that hold equally many elements.

    >>> list(matched((2, 3, 4), (6, 2, 2)))
    [(slice(0, 2, None), slice(0, 1, None)), (slice(2, 3, None), slice(1, 3, None))]
    """
    i = j = 0
    while i < len(before) or j < len(after):
        first, start = i, j
        i, j = min(i + 1, len(before)), min(j + 1, len(after))
        while (left := math.prod(before[first:i])) != (
            right := math.prod(after[start:j])
        ):
            if left < right and i < len(before):
                i += 1
            elif left > right and j < len(after):
                j += 1
            else:  # an axis of size 0
                i, j = len(before), len(after)
                break
        # An axis of size 1 that has no counterpart goes with the one before it.
        while i < len(before) and before[i] == 1 and (j == len(after) or after[j] != 1):
            i += 1
        yield slice(first, i), slice(start, j)


def _distributed(pieces: Sequence[Piece], shape: Sequence[int]) -> Axes:
    """Axes of a shape made of pieces, which are split where need be.

    >>> half, third = Piece(frozenset({0}), 2), Piece(frozenset({1}), 3)
    >>> _distributed([half, third], (2, 3)) == ((half,), (third,))
    True
    >>> mixed = frozenset({0, 1})
    >>> _distributed([half, third], (3, 2)) == ((Piece(mixed, 3),), (Piece(mixed, 2),))
    True
    """
    if 0 in shape:
        return _mixed(pieces, shape)
    if len(shape) == 1:
        return (tuple(pieces),)
    result: list[tuple[Piece, ...]] = []
    rest = list(pieces)
    for size in shape:
        axis: list[Piece] = []
        while (needed := size // math.prod(piece.size for piece in axis)) > 1:
            piece = rest.pop(0)
            if piece.size > needed and piece.size % needed == 0:
                rest.insert(0, piece._replace(size=piece.size // needed))
                piece = piece._replace(size=needed)
            elif needed % piece.size:
                return _mixed(pieces, shape)
            axis.append(piece)
        result.append(tuple(axis))
    if shape:
        result[-1] += tuple(rest)
    return tuple(result)


def _mixed(pieces: Sequence[Piece], shape: Sequence[int]) -> Axes:
    """Axes each of which holds parts of all pieces, except those of size 1."""
    everything = origins(pieces)
    return tuple(single(everything, size) if size != 1 else () for size in shape)
