"""Counts of nonzero operands, in the form that convolutions and products share.

Both multiply every pair of an activation and a weight that meet in a group g (a
feature group, a batch index), at a tap t (a position in the window) and in a channel
c (a contracted index). The nonzero activations do not depend on the output channel,
the nonzero weights do not depend on the position. So the sum over all pairs is a
product of two sums:

    effectual = sum_gtc  A[g, t, c] * W[g, t, c]

with A the nonzero activations and W the nonzero weights that meet there. An operand
without zeros gives the other counts.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike
from jaxtyping import Array, Float32, UInt32

from dst_jax.jaxprs.short_sums import short_sum

__all__ = ["LARGEST", "Factors", "exact_dtype", "nonzeros"]

LARGEST = 2**32 - 1

# float32 adds integers exactly up to here.
EXACT = 1 << 24


class Factors(NamedTuple):
    """Numbers of nonzero elements of both operands that meet, and their bounds.

    Attributes:
      lhs: nonzero elements of the left operand in (tap, group, channel), exact in
        float32 or uint32.
      rhs: nonzero elements of the right operand in (tap, group, channel).
      lhs_full: value of `lhs` at each tap if the left operand had no zeros.
      rhs_full: value of `rhs` if the right operand had no zeros.
      dense: number of all products, those with padding included.
    """

    lhs: Float32[Array, "tap group channel"] | UInt32[Array, "tap group channel"]
    rhs: UInt32[Array, "tap group channel"]
    lhs_full: tuple[int, ...]
    rhs_full: int
    dense: int


def nonzeros(x: Array, axes: tuple[int, ...], dtype: DTypeLike = jnp.uint32) -> Array:
    """The number of nonzero elements along `axes`. NaN is nonzero, -0.0 is zero.

    Args:
      x: array of any dtype.
      axes: axes to count along, not negative.
      dtype: dtype of the counts, which must hold them.

    >>> nonzeros(jnp.array([[0.0, 2.0], [0.0, 3.0]]), (0,)).tolist()
    [0, 2]
    """
    most = min(math.prod(x.shape[i] for i in axes), LARGEST)
    # XLA:CPU always vectorises an integer sum, the narrower the faster, but not a float
    # sum. The barrier keeps XLA from fusing the sum into its uses: a pass for each tap.
    small = np.min_scalar_type(most)
    counts = short_sum(x, axes, lambda x: (x != 0).astype(small)).astype(dtype)
    return _gathered(jax.lax.optimization_barrier(counts))


def exact_dtype(most: int) -> type[np.floating] | type[np.integer]:
    """The dtype of counts up to `most`: float32, of fast matrix products, or uint32.

    >>> exact_dtype(2**24).__name__, exact_dtype(2**24 + 1).__name__
    ('float32', 'uint32')
    """
    return np.float32 if most <= EXACT else np.uint32


def _gathered(x: Array) -> Array:
    """The array, replicated if axes of the mesh are explicit.

    With explicit axes, JAX asks for the sharding of every reshaped array. These sums
    are small.
    """
    spec: Any = jax.typeof(x).sharding.spec
    return jax.sharding.reshard(x, PartitionSpec()) if any(spec) else x
