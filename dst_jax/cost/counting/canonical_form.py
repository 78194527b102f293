"""The canonical form of one operation: masks of nonzero elements, axes in order."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array, Bool

from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.counting.sparse_formats import stored_mask
from dst_jax.jaxprs.operand_roles import activation_side
from dst_jax.jaxprs.product_operands import SPARSE, DotNumbers, dot_numbers, sides
from dst_jax.jaxprs.values import Value, arrays_of

__all__ = ["canonical_form"]

_SPARSE_RESULT = "its result is stored at positions that data decide"
UNFORMED = {
    "bcoo_dot_general_sampled": _SPARSE_RESULT,
    "bcoo_spdot_general": _SPARSE_RESULT,
    "ragged_dot_general": "which rows meet which group is known only when it runs",
}
"""Products without a canonical form, and why."""


def canonical_form(
    eqn: core.JaxprEqn, args: list[Value], results: list[Value]
) -> OpProfile:
    """The profile of a convolution or a matrix product.

    A sparse matrix has zeros where nothing is stored.

    Raises:
      ValueError: a convolution has batch groups, or a kernel that depends on data
        and an input that does not; or a product's groups are data, or its operands
        meet at stored positions only.

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax.jaxprs.operand_roles import Role
    >>> x, w = jnp.ones((4, 2)), jnp.eye(2, 3)
    >>> (eqn,) = jax.make_jaxpr(jnp.dot)(x, w).eqns
    >>> args = [Value(x, Role.DATA), Value(w, Role.WEIGHT)]
    >>> canonical_form(eqn, args, [Value(x @ w, Role.DATA)]).weight.tolist()
    [[True, False, False], [False, True, False]]
    """
    name = eqn.primitive.name
    if name in UNFORMED:
        raise ValueError(
            f"cost.profile cannot profile the multiplications of {name!r}: "
            f"{UNFORMED[name]}; cost.count counts them"
        )
    left, right = sides(eqn, args)
    operands = arrays_of([left, right, *results])
    lhs, rhs, out = (jnp.not_equal(x, 0) for x in operands)
    if name in SPARSE:
        lhs = stored_mask(eqn, arrays_of(args))
    side = activation_side(left.role, right.role)
    if name == "conv_general_dilated":
        if side == "rhs":
            raise ValueError(
                "cost.profile cannot profile a convolution of weights with a kernel "
                "that depends on data: its input is no activation"
            )
        return _conv(lhs, rhs, out, eqn.params, dynamic=side is None)
    numbers = dot_numbers(eqn)
    return _dot(lhs, rhs, out, numbers, swap=side == "rhs", dynamic=side is None)


def _conv(
    lhs: Bool[Array, "..."],
    rhs: Bool[Array, "..."],
    out: Bool[Array, "..."],
    params: dict[str, Any],
    *,
    dynamic: bool,
) -> OpProfile:
    if params["batch_group_count"] > 1:
        raise ValueError(
            "cost.profile cannot profile a convolution with batch_group_count = "
            f"{params['batch_group_count']}: its groups are parts of the batch, and "
            "the canonical form has groups of channels; cost.count counts it"
        )
    dims = params["dimension_numbers"]
    filter_, channel, *taps = dims.rhs_spec
    return OpProfile(
        activation=_channels_last(lhs, dims.lhs_spec),
        weight=rhs.transpose(*taps, channel, filter_),
        output=_channels_last(out, dims.out_spec),
        geometry=Geometry(
            strides=tuple(params["window_strides"]),
            padding=tuple((low, high) for low, high in params["padding"]),
            lhs_dilation=tuple(params["lhs_dilation"]),
            rhs_dilation=tuple(params["rhs_dilation"]),
            groups=params["feature_group_count"],
            dynamic=dynamic,
        ),
    )


def _channels_last(x: Bool[Array, "..."], spec: Sequence[int]) -> Bool[Array, "..."]:
    batch, channel, *spatial = spec
    return x.transpose(batch, *spatial, channel)


def _dot(
    lhs: Bool[Array, "..."],
    rhs: Bool[Array, "..."],
    out: Bool[Array, "..."],
    numbers: DotNumbers,
    *,
    swap: bool,
    dynamic: bool,
) -> OpProfile:
    """A matrix product: batch axes are groups, the activation's free axes the batch."""
    (left, right), (left_batch, right_batch) = numbers
    left = _three_axes(lhs, left_batch, left)
    right = _three_axes(rhs, right_batch, right)
    groups, rows, _ = left.shape
    out = out.reshape(groups, rows, right.shape[1])
    if swap:
        left, right, out = right, left, out.transpose(0, 2, 1)
    return OpProfile(
        activation=_flat(left.transpose(1, 0, 2)),
        weight=_flat(right.transpose(2, 0, 1)),
        output=_flat(out.transpose(1, 0, 2)),
        geometry=Geometry(groups=groups, dynamic=dynamic),
    )


def _three_axes(
    x: Bool[Array, "..."], batch: Sequence[int], contracting: Sequence[int]
) -> Bool[Array, "group free contracted"]:
    free = [i for i in range(x.ndim) if i not in (*batch, *contracting)]
    sizes = [math.prod(x.shape[i] for i in axes) for axes in (batch, free, contracting)]
    return x.transpose(*batch, *free, *contracting).reshape(sizes)


def _flat(x: Bool[Array, "row group column"]) -> Bool[Array, "row columns"]:
    rows, groups, columns = x.shape
    return x.reshape(rows, groups * columns)
