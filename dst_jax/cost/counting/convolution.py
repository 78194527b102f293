"""Counts of `conv_general_dilated`, without a second convolution.

The elements of the input that a tap reads are a product of ranges, one per spatial
axis. So the input's indicator is summed over the batch once, and then multiplied by a
matrix that says which element of an image each tap reads: O(input + taps * one image).
"""

import functools
import math
from typing import Any

import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Float32, UInt32

from dst_jax.cost.counting.factors import Factors, exact_dtype, nonzeros
from dst_jax.cost.counting.tap_sums import Ranges, tap_sums

__all__ = ["conv_factors", "elements_read"]


def conv_factors(lhs: Array, rhs: Array, out: Any, params: dict[str, Any]) -> Factors:
    """The factors of a convolution with any stride, padding, dilation or groups.

    Args:
      lhs: input; `params["dimension_numbers"]` names its axes.
      rhs: kernel.
      out: shape and dtype of the output.
      params: parameters of the equation.

    Returns:
      Factors whose group is the feature group or the batch group (XLA allows one of
      them), whose taps run over the window in row-major order.

    >>> import jax.numpy as jnp
    >>> x, w = jnp.ones((1, 1, 3)), jnp.ones((1, 1, 2))  # (batch, channel, width)
    >>> jaxpr = jax.make_jaxpr(lambda x, w: jax.lax.conv(x, w, (1,), "VALID"))(x, w)
    >>> (eqn,) = jaxpr.eqns
    >>> factors = conv_factors(x, w, eqn.outvars[0].aval, eqn.params)
    >>> factors.dense, factors.lhs.tolist(), factors.rhs.tolist()
    (4, [[[2.0]], [[2.0]]], [[[1]], [[1]]])
    """
    dims = params["dimension_numbers"]
    features, batches = params["feature_group_count"], params["batch_group_count"]
    out_batch, _, *out_spatial = (out.shape[i] for i in dims.out_spec)
    ranges = _ranges(lhs, rhs, out_spatial, params)
    per_group = rhs.shape[dims.rhs_spec[0]] // (features * batches)
    taps = math.prod(len(axis) for axis in ranges)
    channels = rhs.shape[dims.rhs_spec[1]]
    return Factors(
        lhs=_lhs_counts(lhs, dims.lhs_spec, ranges, features, batches),
        rhs=_rhs_counts(rhs, dims.rhs_spec, features * batches),
        lhs_full=tuple(out_batch * reads for reads in _tap_sizes(ranges)),
        rhs_full=per_group,
        dense=math.prod(out.shape) * taps * channels,
    )


def elements_read(
    tap: int,
    *,
    size: int,
    out_size: int,
    stride: int,
    pad_low: int,
    lhs_dilation: int,
    rhs_dilation: int,
) -> range:
    """The input elements that one tap reads along one axis, over all outputs.

    Output y reads position `p = y * stride + tap * rhs_dilation - pad_low` of the
    dilated input, which holds element `p / lhs_dilation` where that is an integer in
    `[0, size)`, and a zero elsewhere. A negative `pad_low` crops.

    >>> elements_read(0, size=4, out_size=2, stride=2, pad_low=1, lhs_dilation=1,
    ...               rhs_dilation=1)
    range(1, 2, 2)
    """
    start = tap * rhs_dilation - pad_low
    positions = (start + y * stride for y in range(out_size))
    read = [p // lhs_dilation for p in positions if p % lhs_dilation == 0]
    read = [element for element in read if 0 <= element < size]
    if not read:
        return range(0)
    # Both conditions hold on an arithmetic progression of outputs.
    step = stride // math.gcd(stride, lhs_dilation)
    return range(read[0], read[-1] + 1, step)


def _ranges(
    lhs: Array, rhs: Array, out_spatial: list[int], params: dict[str, Any]
) -> Ranges:
    """`elements_read` of every tap, per spatial axis."""
    dims = params["dimension_numbers"]
    return tuple(
        tuple(
            elements_read(
                tap,
                size=lhs.shape[dims.lhs_spec[2 + i]],
                out_size=out_size,
                stride=params["window_strides"][i],
                pad_low=params["padding"][i][0],
                lhs_dilation=params["lhs_dilation"][i],
                rhs_dilation=params["rhs_dilation"][i],
            )
            for tap in range(rhs.shape[dims.rhs_spec[2 + i]])
        )
        for i, out_size in enumerate(out_spatial)
    )


def _tap_sizes(ranges: Ranges) -> list[int]:
    """The number of elements of one channel of one image that each tap reads."""
    sizes = [1]
    for axis in ranges:
        sizes = [size * len(read) for size in sizes for read in axis]
    return sizes


# jit, so that operands of one shape are traced once.
@functools.partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _lhs_counts(
    lhs: Array,
    spec: tuple[int, ...],
    ranges: Ranges,
    features: int,
    batches: int,
) -> Float32[Array, "tap group channel"] | UInt32[Array, "tap group channel"]:
    sizes = [lhs.shape[i] for i in spec[2:]]
    # One more axis: the groups of the batch, in front of the images of each.
    group = spec[0]
    lhs = _split(lhs, group, batches)
    images, channel, *spatial = (i + (i >= group) for i in spec)
    # No tap reads more of one channel.
    dtype = exact_dtype(lhs.shape[images] * math.prod(sizes))
    if ranges == tuple((range(size),) for size in sizes):
        counts = _counted(lhs, (images, *spatial), [group, channel], dtype)
    else:
        counts = tap_sums(
            lhs,
            lambda x: _counted(x, (images,), [group, *spatial, channel], dtype),
            ranges,
            axis=spatial[0],
            sizes=sizes,
            dtype=dtype,
            elements=lhs.size // lhs.shape[images],
        )
    taps = math.prod(len(axis) for axis in ranges)
    channels = lhs.shape[channel] // features
    return counts.reshape(taps, batches * features, channels)


def _counted(
    x: Array, axes: tuple[int, ...], kept: list[int], dtype: DTypeLike
) -> Array:
    """Nonzeros along `axes`, the other axes in the order of `kept`."""
    rank = {axis: i for i, axis in enumerate(sorted(kept))}
    return nonzeros(x, axes, dtype).transpose([rank[axis] for axis in kept])


@functools.partial(jax.jit, static_argnums=(1, 2))
def _rhs_counts(
    rhs: Array, spec: tuple[int, ...], groups: int
) -> UInt32[Array, "tap group channel"]:
    out, channel, *spatial = spec
    counts = nonzeros(_split(rhs, out, groups), (out + 1,))
    counts = counts.transpose(*spatial, out, channel)
    taps = math.prod(rhs.shape[i] for i in spatial)
    return counts.reshape(taps, groups, rhs.shape[channel])


def _split(x: Array, axis: int, groups: int) -> Array:
    """`axis` as two: (groups, the rest); the axis keeps its number."""
    rest = x.shape[axis] // groups
    return x.reshape(*x.shape[:axis], groups, rest, *x.shape[axis + 1 :])
