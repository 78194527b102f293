"""The number of products of an operation, as a bilinear function of its operands.

For indicators of nonzeros it is the count; for smooth indicators it is smooth.
"""

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax.extend import core
from jaxtyping import Array, Float

from dst_jax.cost.counting.side_sums import SUMS
from dst_jax.jaxprs.product_operands import DotNumbers, dot_numbers

__all__ = ["products"]


def products(
    eqn: core.JaxprEqn,
    lhs: Float[Array, "..."],
    rhs: Float[Array, "..."],
    operands: Sequence[Any],
) -> Float[Array, ""]:
    """The sum of `lhs * rhs` over all pairs of elements that `eqn` multiplies.

    Elements of `lhs` do not depend on the filter, elements of `rhs` not on the image.
    So images and filters are summed first. A convolution of one image with one filter
    (of every group) remains, whose derivative XLA has.

    Args:
      eqn: convolution or matrix product.
      lhs, rhs: float32 arrays shaped like the values of the operands.
      operands: all operands: group sizes and stored indices are read.

    Returns:
      A float32 scalar, exact for indicators up to 2^24.

    >>> import jax.numpy as jnp
    >>> x, w = jnp.ones((4, 2)), jnp.eye(2, 3)
    >>> (eqn,) = jax.make_jaxpr(jnp.dot)(x, w).eqns
    >>> float(products(eqn, x, w, [x, w]))
    8.0
    """
    if eqn.primitive.name == "conv_general_dilated":
        return _conv(lhs, rhs, eqn.params).sum()
    if eqn.primitive.name in SUMS:
        sums = SUMS[eqn.primitive.name](eqn, operands)
        return (sums.lhs(lhs) * sums.rhs(rhs)).sum()
    return _dot(lhs, rhs, dot_numbers(eqn)).sum()


def _conv(lhs: Array, rhs: Array, params: dict[str, Any]) -> Array:
    dims, batches = params["dimension_numbers"], params["batch_group_count"]
    filters = params["feature_group_count"] * batches
    return lax.conv_general_dilated(
        _group_sums(lhs, dims.lhs_spec[0], batches),
        _group_sums(rhs, dims.rhs_spec[0], filters),
        window_strides=params["window_strides"],
        padding=params["padding"],
        lhs_dilation=params["lhs_dilation"],
        rhs_dilation=params["rhs_dilation"],
        dimension_numbers=dims,
        feature_group_count=params["feature_group_count"],
        batch_group_count=batches,
        precision=lax.Precision.HIGHEST,
    )


def _dot(lhs: Array, rhs: Array, dims: DotNumbers) -> Array:
    lhs, rhs = (
        x.sum([i for i in range(x.ndim) if i not in sum(kept, ())], keepdims=True)
        for x, *kept in zip((lhs, rhs), *dims, strict=True)
    )
    return lax.dot_general(lhs, rhs, dims, precision=lax.Precision.HIGHEST)


def _group_sums(x: Array, axis: int, groups: int) -> Array:
    """Sums each of `groups` equal parts of an axis to one element."""
    split = (*x.shape[:axis], groups, x.shape[axis] // groups, *x.shape[axis + 1 :])
    return jax.lax.reshape(x, split).sum(axis + 1)
