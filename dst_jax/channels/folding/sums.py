"""Operations that sum over positions of one operand, each times a known weight."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dst_jax.channels.axis_units import Bools
from dst_jax.channels.folding.partial_values import (
    Numbers,
    PartialValue,
    ValueShape,
    stretched,
)

__all__ = ["WeightedSum", "summed"]


class WeightedSum(NamedTuple):
    """A linear function of one operand.

    Attributes:
      operand: number of the operand.
      of: the result for an array of the operand, 1 long where nothing differs.
      reads: function from marked positions to the results that read any of them with a
        weight other than 0.
      read: the positions that any result reads with a weight other than 0.
      axes: axes of the operand over which it sums.
      window: axes along which it slides a window.
      edges: whether the window reaches beyond the operand.
    """

    operand: int
    of: Callable[[Numbers], Numbers]
    reads: Callable[[Bools], Bools]
    read: Bools
    axes: tuple[int, ...]
    window: tuple[int, ...] = ()
    edges: bool = False


def summed(
    name: str,
    params: Mapping[str, Any],
    operands: Sequence[PartialValue],
    given: Sequence[ValueShape],
) -> WeightedSum | None:
    """An operation as a sum; None if it is none, or its weights are not known.

    Args:
      name: name of the primitive.
      params: its parameters.
      operands: what is known of its operands.
      given: their shapes.

    >>> from dst_jax.channels.folding.partial_values import unknown
    >>> found = summed("reduce_sum", {"axes": (1,)}, [unknown(2)], [(2, 3)])
    >>> found.of(np.ones((1, 1))).tolist()
    [3.0]
    """
    match name:
        case "reduce_sum":
            return _reduce_sum(params["axes"], given[0])
        case "reduce_window_sum":
            return _windows(params, given[0])
        case "dot_general" if not any(params["dimension_numbers"][1]):
            return _product(params["dimension_numbers"][0], operands, given)
        case "conv_general_dilated" if operands[1].whole:
            return _convolution(params, operands[1], given)
    return None


def _reduce_sum(axes: Sequence[int], shape: ValueShape) -> WeightedSum:
    def of(x: Numbers) -> Numbers:
        return np.asarray(stretched(x, axes, shape).sum(tuple(axes)))

    def reads(marked: Bools) -> Bools:
        return np.asarray(marked.any(tuple(axes)))

    return WeightedSum(0, of, reads, np.ones((1,) * len(shape), bool), tuple(axes))


def _windows(params: Mapping[str, Any], shape: ValueShape) -> WeightedSum:
    sizes = params["window_dimensions"]
    strides = zip(sizes, params["window_strides"], strict=True)
    window = tuple(axis for axis, pair in enumerate(strides) if pair != (1, 1))

    return WeightedSum(
        0,
        lambda x: x * math.prod(sizes),
        lambda marked: marked,
        np.ones((1,) * len(shape), bool),
        (),
        window,
        any(map(any, params["padding"]))
        or any(n != 1 for n in params["base_dilation"]),
    )


def _product(
    contracted: Sequence[Sequence[int]],
    operands: Sequence[PartialValue],
    given: Sequence[ValueShape],
) -> WeightedSum | None:
    weights = next((i for i in (1, 0) if operands[i].whole), None)
    if weights is None:
        return None
    side = 1 - weights
    kernel = stretched(
        operands[weights].number, range(len(given[weights])), given[weights]
    )
    axes, own = tuple(contracted[side]), tuple(contracted[weights])

    def times(x: Numbers, kernel: Numbers) -> Numbers:
        x = stretched(x, axes, given[side])
        if side == 0:
            return np.tensordot(x, kernel, (axes, own))
        return np.tensordot(kernel, x, (own, axes))

    def reads(marked: Bools) -> Bools:
        return times(marked.astype(np.float32), (kernel != 0).astype(np.float32)) > 0

    free = tuple(i for i in range(kernel.ndim) if i not in own)
    ever = (kernel != 0).any(free)  # its axes are those of `own`, ascending
    ever = ever.transpose(np.argsort(np.argsort(own)))
    order = np.argsort(axes)
    read = np.ones((1,) * len(given[side]), bool)
    read = read & np.expand_dims(
        ever.transpose(order),
        tuple(i for i in range(len(given[side])) if i not in axes),
    )
    return WeightedSum(
        side,
        lambda x: times(x, kernel.astype(np.float64)),
        reads,
        read,
        axes,
    )


def _convolution(
    params: Mapping[str, Any], kernel: PartialValue, given: Sequence[ValueShape]
) -> WeightedSum:
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    lhs, rhs, out = numbers.lhs_spec, numbers.rhs_spec, numbers.out_spec
    rank = len(lhs)
    windows = tuple(range(2, rank))
    whole = stretched(kernel.number, range(rank), given[1]).transpose(
        rhs[1], rhs[0], *rhs[2:]
    )
    weights = whole.sum(windows, np.float64)
    support = (whole != 0).any(windows)

    def times(x: Numbers, weights: Numbers) -> Numbers:
        x = stretched(x, [lhs[1]], given[0]).transpose(lhs)
        x = x.reshape(x.shape[0], groups, -1)
        by_group = weights.reshape(weights.shape[0], groups, -1)
        y = np.einsum("bgi,igo->bgo", x, by_group).reshape(
            x.shape[0], -1, *[1] * (rank - 2)
        )
        return np.moveaxis(y, range(rank), out)

    def reads(marked: Bools) -> Bools:
        return times(marked.astype(np.float32), support.astype(np.float32)) > 0

    ever = support.reshape(support.shape[0], groups, -1).any(2).T.ravel()
    sizes = [1] * rank
    sizes[lhs[1]] = ever.size
    return WeightedSum(
        0,
        lambda x: times(x, weights),
        reads,
        ever.reshape(sizes),
        () if groups > 1 and support.shape[0] == 1 else (lhs[1],),
        tuple(lhs[2:]),
        any(map(any, params["padding"])) or any(n != 1 for n in params["lhs_dilation"]),
    )
