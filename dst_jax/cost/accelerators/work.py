"""Sums over the masks of an operation, and the work that an accelerator makes of it."""

import dataclasses
from dataclasses import field
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from dst_jax.cost.accelerators.lowering import is_matmul
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number

__all__ = ["SPARSE", "Bits", "Macs", "Measured", "OpShape", "Work", "shape_of"]

SPARSE = "sparse"
"""The mode of an operation that runs as the design intends."""


class OpShape(NamedTuple):
    """Sizes of one operation, all static.

    Attributes:
      rows: number of images times output positions.
      images: number of images; 1 for a matrix product, whose rows are all positions.
      taps: number of positions in the window.
      channels: number of channels of one group.
      filters: number of filters of one group.
      groups: number of groups of channels and filters.
      axes: number of spatial axes, 0 for a matrix product.
    """

    rows: int
    images: int
    taps: int
    channels: int
    filters: int
    groups: int
    axes: int

    @property
    def contracted(self) -> int:
        """The number of products in one output.

        >>> OpShape(16, 1, taps=9, channels=8, filters=3, groups=1, axes=2).contracted
        72
        """
        return self.taps * self.channels

    @property
    def positions(self) -> int:
        """The number of output positions of an image, or rows of a matrix product.

        >>> OpShape(16, 1, taps=9, channels=8, filters=3, groups=1, axes=2).positions
        16
        """
        return self.rows // self.images if self.images else 0

    @property
    def outputs(self) -> int:
        """The number of elements of the output.

        >>> OpShape(16, 1, taps=9, channels=8, filters=3, groups=1, axes=2).outputs
        48
        """
        return self.rows * self.filters * self.groups

    @property
    def macs(self) -> int:
        """The number of multiplications, with padding.

        >>> OpShape(16, 1, taps=9, channels=8, filters=3, groups=1, axes=2).macs
        3456
        """
        return self.outputs * self.contracted


class Macs(NamedTuple):
    """The counts of `OpCounts` in float32."""

    dense: Float[Array, ""]
    valid: Float[Array, ""]
    by_activation: Float[Array, ""]
    by_weight: Float[Array, ""]
    effectual: Float[Array, ""]


class Bits(NamedTuple):
    """Bits of the operands and the output in the accelerator's format."""

    activation: Float[Array, ""]
    weight: Float[Array, ""]
    output: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Measured:
    """The sums over one operation's masks that an accelerator needs.

    Attributes:
      macs: multiplications.
      detail: sums that the design's `sparse_work` reads.
      shape: sizes of the operation. Static.
      mode: "sparse", or "dense: why". Static.
    """

    macs: Macs
    detail: Any
    shape: OpShape = field(metadata={"static": True})
    mode: str = field(metadata={"static": True})


class Work(NamedTuple):
    """The work of an accelerator on one operation.

    Attributes:
      cycles: cycles of the multipliers, as if memory were free.
      executed: products that use a multiplier's slot.
      gated: products whose slot is kept idle to save energy.
      activation_reads: number of reads of the activation from the on-chip buffer.
      weight_reads: number of reads of the weight from that buffer.
      psum_moves: number of times that a partial sum goes to or from that buffer,
        uncompressed.
      slots: multiplier slots that pass; None = cycles times multipliers. Those without
        a product are idle.
      discarded: products computed that no output takes.
      activation_accesses, weight_accesses: reads of operands from the memories next to
        the multipliers; None = one for each executed product.
      psum_accesses: reads and writes of partial sums in small memories next to the
        multipliers, or in banks of as few words; None = two for each executed product.
      accumulator_accesses: reads and writes of banked accumulators of kilobytes.
      metadata_bits: bits of positions (bitmasks, runs, indices) read next to the
        multipliers.
      crossbar_bits: bits of values that a crossbar routes.
    """

    cycles: Float[Array, "..."]
    executed: Float[Array, "..."]
    gated: Float[Array, "..."]
    activation_reads: Number
    weight_reads: Number
    psum_moves: Number = 0
    slots: Number | None = None
    discarded: Number = 0
    activation_accesses: Number | None = None
    weight_accesses: Number | None = None
    psum_accesses: Number | None = None
    accumulator_accesses: Number = 0
    metadata_bits: Number = 0
    crossbar_bits: Number = 0


def shape_of(profile: OpProfile) -> OpShape:
    """The sizes of an operation.

    >>> import jax.numpy as jnp
    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> x, w = jnp.ones((4, 8), bool), jnp.ones((8, 3), bool)
    >>> shape_of(OpProfile(x, w, jnp.ones((4, 3), bool), Geometry())).macs
    96
    """
    groups = profile.geometry.groups
    return OpShape(
        rows=profile.batch * profile.positions,
        images=1 if is_matmul(profile) else profile.batch,
        taps=profile.taps,
        channels=profile.weight.shape[-2],
        filters=profile.filters // groups,
        groups=groups,
        axes=profile.activation.ndim - 2,
    )
