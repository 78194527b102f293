"""Products of weight gradients by the weight whose gradient they are summed to."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core
from jaxtyping import Array, Bool, UInt32

from dst_jax.jaxprs import binding
from dst_jax.jaxprs.exact_integers import Count, sum_products
from dst_jax.jaxprs.product_operands import dot_numbers

__all__ = ["kept_products", "kept_valid", "products_per_weight"]

EXACT = 2**24
"""Integers up to here are exact in float32."""


def products_per_weight(
    eqn: core.JaxprEqn, lhs: Array, rhs: Array, *sizes: Array
) -> UInt32[Array, "..."]:
    """The number of products of nonzero elements that each output is the sum of.

    Args:
      eqn: convolution or matrix product.
      lhs, rhs: its operands.
      *sizes: group sizes of a ragged product.

    Raises:
      ValueError: an output is a sum of more than 2^24 products.

    >>> import jax
    >>> x, w = jnp.array([[1.0, 0.0]]), jnp.ones((2, 1))
    >>> (eqn,) = jax.make_jaxpr(jnp.dot)(x, w).eqns
    >>> products_per_weight(eqn, x, w).tolist()
    [[1]]
    """
    longest = max(map(int, np.ravel(_reads(eqn))), default=0)
    if longest > EXACT:
        raise ValueError(
            f"cost.training adds at most 2^24 products to one weight's gradient, got"
            f" {longest}: count smaller batches"
        )
    (counts,) = binding.bind(
        eqn,
        [*((x != 0).astype(jnp.float32) for x in (lhs, rhs)), *sizes],
        preferred_element_type=np.dtype(np.float32),
        precision=(lax.Precision.HIGHEST, lax.Precision.HIGHEST),
    )
    # A backend may convolve through a transform, whose results are near integers.
    return jnp.rint(counts).astype(jnp.uint32)


def kept_products(kept: Bool[Array, "..."], per_weight: UInt32[Array, "..."]) -> Count:
    """The number of products for kept weights.

    Args:
      kept: mask of the outputs that are needed.
      per_weight: products of each output, from `products_per_weight`.

    >>> kept_products(jnp.array([True, False]), jnp.array([3, 5], jnp.uint32))
    Count(3)
    """
    limbs = sum_products(
        jnp.ravel(per_weight),
        jnp.ravel(kept).astype(jnp.uint32),
        max_a=EXACT,
        max_b=1,
    )
    return Count(limbs)


def kept_valid(eqn: core.JaxprEqn, kept: Bool[Array, "..."], *sizes: Array) -> Count:
    """The number of valid products for kept weights, zeros of operands included.

    Args:
      eqn: convolution or matrix product.
      kept: mask of the outputs that are needed.
      *sizes: group sizes of a ragged product.

    >>> import jax
    >>> (eqn,) = jax.make_jaxpr(jnp.dot)(jnp.ones((1, 2)), jnp.ones((2, 1))).eqns
    >>> kept_valid(eqn, jnp.array([[True]]))
    Count(2)
    """
    if sizes:
        ones = [jnp.ones(_shape(atom)) for atom in eqn.invars[:2]]
        return kept_products(kept, products_per_weight(eqn, *ones, *sizes))
    reads = _reads(eqn)
    if eqn.primitive.name == "conv_general_dilated":
        batch, channel, *spatial = eqn.params["dimension_numbers"].out_spec
        order = np.argsort(np.argsort(spatial))
        needed = kept.sum((batch, channel), dtype=jnp.uint32).transpose(order)
    else:
        needed = kept.sum(dtype=jnp.uint32)
    limbs = sum_products(
        jnp.ravel(needed),
        jnp.asarray(np.ravel(reads), jnp.uint32),
        max_a=math.prod(kept.shape),
        max_b=max(map(int, np.ravel(reads)), default=0),
    )
    return Count(limbs)


def _reads(eqn: core.JaxprEqn) -> Any:
    """Valid products of an output: a number, or of a convolution one a position.

    Of a ragged product it is the most that they can be.
    """
    lhs, rhs = map(_shape, eqn.invars[:2])
    if eqn.primitive.name != "conv_general_dilated":
        return np.int64(math.prod(lhs[i] for i in dot_numbers(eqn)[0][0]))
    numbers = eqn.params["dimension_numbers"]
    out = _shape(eqn.outvars[0])
    reads = np.int64(rhs[numbers.rhs_spec[1]])
    for i, axis in enumerate(numbers.out_spec[2:]):
        own = _axis_reads(eqn, i, lhs, rhs, out[axis])
        reads = np.multiply.outer(reads, own)
    return reads


def _axis_reads(
    eqn: core.JaxprEqn, i: int, lhs: Sequence[int], rhs: Sequence[int], out_size: int
) -> np.ndarray:
    """The taps that read an element, for every output along one spatial axis."""
    params, dims = eqn.params, eqn.params["dimension_numbers"]
    stride, dilation = params["window_strides"][i], params["lhs_dilation"][i]
    low, _ = params["padding"][i]
    size = lhs[dims.lhs_spec[2 + i]]
    counts = np.zeros(out_size, np.int64)
    for tap in range(rhs[dims.rhs_spec[2 + i]]):
        at = np.arange(out_size) * stride + tap * params["rhs_dilation"][i] - low
        counts += (at % dilation == 0) & (at >= 0) & (at < (size - 1) * dilation + 1)
    return counts


def _shape(atom: Any) -> tuple[int, ...]:
    return atom.aval.shape
