"""Positions moved, repeated, cut and joined, in arrays of partial values."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dst_jax.channels.folding.partial_values import Numbers, ValueShape, stretched
from dst_jax.jaxprs.axis_moves import matched

__all__ = ["MOVES", "moved"]

Move = Callable[
    [Mapping[str, Any], Sequence[Numbers], Sequence[ValueShape], ValueShape], Numbers
]


def moved(
    name: str,
    params: Mapping[str, Any],
    arrays: Sequence[Numbers],
    given: Sequence[ValueShape],
    shape: ValueShape,
) -> Numbers:
    """The result of an operation of `MOVES`.

    Args:
      name: name of the primitive.
      params: its parameters.
      arrays: arrays that may be 1 long where nothing differs along an axis.
      given: shapes of the operands.
      shape: shape of the result.

    >>> x = np.arange(3.0)[None]
    >>> moved("transpose", {"permutation": (1, 0)}, [x], [(5, 3)], (3, 5)).shape
    (3, 1)
    """
    return MOVES[name](params, arrays, given, shape)


def _broadcast_in_dim(
    params: Mapping[str, Any], arrays: Sequence[Numbers], given: Any, shape: ValueShape
) -> Numbers:
    del given
    (x,) = arrays
    sizes = [1] * len(shape)
    for axis, size in zip(params["broadcast_dimensions"], x.shape, strict=True):
        sizes[axis] = size
    return x.reshape(sizes)


def _reshape(
    params: Mapping[str, Any],
    arrays: Sequence[Numbers],
    given: Sequence[ValueShape],
    shape: ValueShape,
) -> Numbers:
    del params
    (x,), (before,) = arrays, given
    sizes = [1] * len(shape)
    for old, new in matched(before, shape):
        axes = range(len(before))[old]
        if any(x.shape[axis] != 1 for axis in axes):
            x = stretched(x, axes, before)
            sizes[new] = shape[new]
    return x.reshape(sizes)


def _transpose(
    params: Mapping[str, Any], arrays: Sequence[Numbers], given: Any, shape: ValueShape
) -> Numbers:
    del given, shape
    return arrays[0].transpose(params["permutation"])


def _squeeze(
    params: Mapping[str, Any], arrays: Sequence[Numbers], given: Any, shape: ValueShape
) -> Numbers:
    del given, shape
    return arrays[0].squeeze(tuple(params["dimensions"]))


def _rev(
    params: Mapping[str, Any], arrays: Sequence[Numbers], given: Any, shape: ValueShape
) -> Numbers:
    del given, shape
    return np.flip(arrays[0], params["dimensions"])


def _slice(
    params: Mapping[str, Any], arrays: Sequence[Numbers], given: Any, shape: ValueShape
) -> Numbers:
    del given, shape
    (x,) = arrays
    starts, limits = params["start_indices"], params["limit_indices"]
    strides = params["strides"] or (1,) * x.ndim
    cuts = [slice(*along) for along in zip(starts, limits, strides, strict=True)]
    sizes = zip(cuts, x.shape, strict=True)
    return x[tuple(slice(None) if size == 1 else cut for cut, size in sizes)]


def _concatenate(
    params: Mapping[str, Any],
    arrays: Sequence[Numbers],
    given: Sequence[ValueShape],
    shape: ValueShape,
) -> Numbers:
    del shape
    axis = params["dimension"]
    rest = np.broadcast_shapes(
        *((*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in arrays)
    )
    parts = [
        np.broadcast_to(x, (*rest[:axis], own[axis], *rest[axis + 1 :]))
        for x, own in zip(arrays, given, strict=True)
    ]
    return np.concatenate(parts, axis)


def _pad(
    params: Mapping[str, Any],
    arrays: Sequence[Numbers],
    given: Sequence[ValueShape],
    shape: ValueShape,
) -> Numbers:
    del shape
    x, value = arrays
    edges = params["padding_config"]
    axes = [axis for axis, edge in enumerate(edges) if any(edge)]
    x = stretched(x, axes, given[0])
    for axis in axes:
        low, high, inside = edges[axis]
        size = x.shape[axis]
        at = np.full(max(size + (size - 1) * inside, 0), -1)
        at[:: inside + 1] = np.arange(size)
        at = np.concatenate([np.full(max(low, 0), -1), at, np.full(max(high, 0), -1)])
        at = at[max(-low, 0) : len(at) - max(-high, 0)]
        taken = np.take(x, at, axis)
        outside = np.expand_dims(at < 0, tuple(i for i in range(x.ndim) if i != axis))
        x = np.where(outside, value.reshape((1,) * x.ndim), taken)
    return x


MOVES: dict[str, Move] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
