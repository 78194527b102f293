"""What passes between the masks of an operation, a design's equations, an estimate."""

import dataclasses
from dataclasses import field
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from dst_jax.cost.accelerators.lowering import is_matmul
from dst_jax.cost.counting.op_profile import OpProfile

__all__ = ["SPARSE", "Bits", "Macs", "Measured", "Shape", "Work", "shape_of"]

Number = Any
"""A number or, in a sweep, an array of them; JAX also puts placeholders here."""

SPARSE = "sparse"
"""The mode of an operation that runs as the design intends."""


class Shape(NamedTuple):
    """Sizes of one operation, all static.

    Attributes:
      rows: images times output positions.
      images: 1 for a matrix product, whose rows are all positions.
      taps: positions in the window.
      channels: of one group.
      filters: of one group.
      groups: of channels and filters.
      axes: spatial axes, none for a matrix product.
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
        """Products that one output adds up."""
        return self.taps * self.channels

    @property
    def positions(self) -> int:
        """Output positions of one image; rows of a matrix product."""
        return self.rows // self.images if self.images else 0

    @property
    def outputs(self) -> int:
        """Elements of the output."""
        return self.rows * self.filters * self.groups

    @property
    def macs(self) -> int:
        """Multiplications, with padding."""
        return self.outputs * self.contracted


class Macs(NamedTuple):
    """The counts of `OpCounts` in float32."""

    dense: Float[Array, ""]
    valid: Float[Array, ""]
    by_activation: Float[Array, ""]
    by_weight: Float[Array, ""]
    effectual: Float[Array, ""]


class Bits(NamedTuple):
    """Stored size of the operands and the output in the accelerator's format, bits."""

    activation: Float[Array, ""]
    weight: Float[Array, ""]
    output: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Measured:
    """What an accelerator has to know of one operation.

    Attributes:
      macs: multiplications.
      detail: what the design's `work` reads.
      shape: static.
      mode: "sparse", or "dense: why". Static.
    """

    macs: Macs
    detail: Any
    shape: Shape = field(metadata={"static": True})
    mode: str = field(metadata={"static": True})


class Work(NamedTuple):
    """What one operation makes the machine do.

    Attributes:
      cycles: of the multipliers, as if memory were free.
      executed: products that a multiplier spends a slot on.
      gated: products whose slot is kept idle to save energy.
      activation_reads: how often the activation is read from the on-chip buffer.
      weight_reads: how often the weight is.
      psum_moves: how often a partial sum goes to or from that buffer, uncompressed.
    """

    cycles: Float[Array, "..."]
    executed: Float[Array, "..."]
    gated: Float[Array, "..."]
    activation_reads: Number
    weight_reads: Number
    psum_moves: Number = 0


def shape_of(profile: OpProfile) -> Shape:
    """The sizes of an operation."""
    groups = profile.geometry.groups
    return Shape(
        rows=profile.batch * profile.positions,
        images=1 if is_matmul(profile) else profile.batch,
        taps=profile.taps,
        channels=profile.weight.shape[-2],
        filters=profile.filters // groups,
        groups=groups,
        axes=profile.activation.ndim - 2,
    )
