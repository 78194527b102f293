"""The zeros of one operation, which the models of accelerators read.

Every convolution and matrix product has one canonical form: a grouped convolution with
any number of spatial axes. A matrix product has no spatial axes; its batch axes are
groups.
"""

import dataclasses
import math
from typing import Any

import jax
from jax.lax import ConvDimensionNumbers
from jaxtyping import Array, Float

from dst_jax.cost.counting.convolution import conv_factors
from dst_jax.cost.counting.joint_counts import Met, op_counts
from dst_jax.cost.counting.op_counts import OpCounts
from dst_jax.jaxprs.operand_roles import Role

__all__ = ["Geometry", "OpProfile"]


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the window of an operation moves, with one entry per spatial axis.

    Attributes:
      strides: strides of the window.
      padding: numbers (low, high) of zeros around the input; negative ones crop.
      lhs_dilation: distances between elements of the input.
      rhs_dilation: distances between elements of the kernel.
      groups: number of groups of channels and filters that do not meet.
      dynamic: Whether `weight` depends on data too (attention), so that it cannot be
        stored ahead of time or reused over a batch.

    >>> Geometry().groups  # a matrix product
    1
    """

    strides: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    lhs_dilation: tuple[int, ...] = ()
    rhs_dilation: tuple[int, ...] = ()
    groups: int = 1
    dynamic: bool = False


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OpProfile:
    """The nonzero elements of one operation's operands and output.

    Channels and filters are ordered by group: the first C / groups channels meet the
    first K / groups filters.

    Attributes:
      activation: mask of nonzero inputs, bool (batch, *spatial, channel).
      weight: mask of nonzero weights, bool (*tap, channel / groups, filter).
      output: mask of nonzero outputs before any activation function, bool (batch,
        *out, filter).
      geometry: movement of the window. Static.
    """

    # Bool[Array, "..."], but JAX also rebuilds a pytree around shapes and placeholders.
    activation: Any
    weight: Any
    output: Any
    geometry: Geometry = dataclasses.field(metadata={"static": True})

    @property
    def batch(self) -> int:
        """The number of rows of a matrix product, or images of a convolution.

        >>> import jax.numpy as jnp
        >>> x, w = jnp.array([[True, False]]), jnp.ones((2, 3), bool)
        >>> OpProfile(x, w, jnp.ones((1, 3), bool), Geometry()).batch
        1
        """
        return self.activation.shape[0]

    @property
    def channels(self) -> int:
        """The number of input channels, over all groups.

        >>> import jax.numpy as jnp
        >>> x, w = jnp.array([[True, False]]), jnp.ones((2, 3), bool)
        >>> OpProfile(x, w, jnp.ones((1, 3), bool), Geometry()).channels
        2
        """
        return self.activation.shape[-1]

    @property
    def filters(self) -> int:
        """The number of output channels, over all groups.

        >>> import jax.numpy as jnp
        >>> x, w = jnp.array([[True, False]]), jnp.ones((2, 3), bool)
        >>> OpProfile(x, w, jnp.ones((1, 3), bool), Geometry()).filters
        3
        """
        return self.weight.shape[-1]

    @property
    def taps(self) -> int:
        """The number of positions in the window; 1 for a matrix product.

        >>> import jax.numpy as jnp
        >>> x, w = jnp.array([[True, False]]), jnp.ones((2, 3), bool)
        >>> OpProfile(x, w, jnp.ones((1, 3), bool), Geometry()).taps
        1
        """
        return math.prod(self.weight.shape[:-2])

    @property
    def positions(self) -> int:
        """The number of places of the window on an image; 1 for a matrix product.

        >>> import jax.numpy as jnp
        >>> x, w = jnp.array([[True, False]]), jnp.ones((2, 3), bool)
        >>> OpProfile(x, w, jnp.ones((1, 3), bool), Geometry()).positions
        1
        """
        return math.prod(self.output.shape[1:-1])

    @property
    def input_sparsity(self) -> Float[Array, ""]:
        """The share of zeros in the input, in [0, 1], float32; 0 if it is empty.

        Every element has the same weight. If elements are weighted by the products
        that read them, the share is `1 - by_activation / valid` of `counts`.

        >>> import jax.numpy as jnp
        >>> x, w = jnp.array([[True, False]]), jnp.ones((2, 3), bool)
        >>> OpProfile(x, w, jnp.ones((1, 3), bool), Geometry()).input_sparsity.item()
        0.5
        """
        return (~self.activation).sum() / max(1, self.activation.size)

    @property
    def counts(self) -> OpCounts:
        """The multiplications, as `cost.count` counts them.

        >>> import jax.numpy as jnp
        >>> x, w = jnp.array([[True, False]]), jnp.ones((2, 3), bool)
        >>> OpProfile(x, w, jnp.ones((1, 3), bool), Geometry()).counts.effectual
        Count(3)
        """
        n = self.activation.ndim
        spatial = range(1, n - 1)
        taps = range(n - 2)
        numbers = ConvDimensionNumbers(
            lhs_spec=(0, n - 1, *spatial),
            rhs_spec=(n - 1, n - 2, *taps),
            out_spec=(0, n - 1, *spatial),
        )
        geometry = self.geometry
        params = {
            "dimension_numbers": numbers,
            "feature_group_count": geometry.groups,
            "batch_group_count": 1,
            "window_strides": geometry.strides,
            "padding": geometry.padding,
            "lhs_dilation": geometry.lhs_dilation,
            "rhs_dilation": geometry.rhs_dilation,
        }
        factors = conv_factors(self.activation, self.weight, self.output, params)
        weight = Role.DATA if geometry.dynamic else Role.WEIGHT
        (counts,) = op_counts([Met(factors, Role.DATA, weight)])
        return counts
