"""SCNN: Cartesian products of nonzero operands in planar tiles."""

import dataclasses
import math
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax.cost.accelerators.arithmetic import (
    ceil_div,
    exact_dot,
    exact_sum,
)
from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.lowering import is_matmul
from dst_jax.cost.accelerators.scnn_tiles import Tiles, matmul_tiles, planar_tiles
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, read
from dst_jax.cost.storage import formats

__all__ = ["Scnn"]

PAPER = "Parashar et al., ISCA 2017 (through reading notes)"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Scnn(Accelerator):
    """Each element multiplies all its nonzero activations by all nonzero weights.

        cycles of a block of filters = halo + max over elements of
            sum over channels and phases of
                ceil(nA / activation_lanes) * ceil(nW / weight_lanes) * kappa

    with nA the nonzero activations in the element's tile of the input plane, nW the
    nonzero weights of the block; a stride splits both into phases that do not meet.
    Elements wait for each other after each block; a block is as many filters as the
    accumulators hold for a tile of the output. A matrix product has no plane: its
    filters are divided among the elements, and one lane of activations is busy.

    A crossbar takes every useful product to one of 32 banks of accumulators. Products
    that fall outside of the output are computed and discarded.

    Attributes:
      activation_lanes, weight_lanes: sides of an element's multiplier array.
      kappa: slowdown by conflicts in the accumulator banks; 1 = none.
      pe_rows, pe_columns: numbers of rows and columns of elements. Static.
      accumulators: number of accumulators per element. Static.
      run_bits: bits of a run of zeros. Static.
      sum_bits: bits of a partial sum. Static.
    """

    activation_lanes: Number = field(default=4, metadata=read(PAPER))
    weight_lanes: Number = field(default=4, metadata=read(PAPER))
    kappa: Number = field(default=1.0, metadata=assumed("bank conflicts are left out"))
    pe_rows: int = field(default=8, metadata=read(PAPER, static=True))
    pe_columns: int = field(default=8, metadata=read(PAPER, static=True))
    accumulators: int = field(
        default=1024, metadata=read(f"{PAPER}: 32 banks of 32 entries", static=True)
    )
    run_bits: int = field(
        default=4, metadata=read(f"{PAPER}: 4-bit indices", static=True)
    )
    sum_bits: int = field(
        default=24, metadata=read(f"{PAPER}: 24-bit accumulators", static=True)
    )
    clock: Number = field(default=1e9, metadata=assumed("a round number"))
    activation_buffer: Number = field(
        default=64 * 10 * 1024, metadata=read(f"{PAPER}: 10 KB per element")
    )
    weight_buffer: Number = field(
        default=64 * 100, metadata=read(f"{PAPER}: 50 entries of 16 bits per element")
    )

    @property
    def multipliers(self) -> Number:
        """An array of lanes in each element.

        >>> Scnn().multipliers
        1024
        """
        lanes = self.activation_lanes * self.weight_lanes
        return self.pe_rows * self.pe_columns * lanes

    def storage(self, profile: OpProfile) -> Bits:
        """Run lengths of all arrays, along channels and filters.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> Scnn().storage(profile).weight.item()  # 10 * (16 + 4)
        200.0
        """

        def coded(mask: Any) -> Any:
            bits = formats.run_length(
                mask, value_bits=self.value_bits, run_bits=self.run_bits
            )
            return bits.as_float()

        return Bits(*map(coded, (profile.activation, profile.weight, profile.output)))

    def reduce(self, profile: OpProfile) -> Tiles:
        """Nonzeros by tile, phase and block.

        Raises:
          ValueError: the operation has three or more spatial axes.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> tiles = Scnn(pe_rows=1, pe_columns=2).reduce(profile)
        >>> tiles.weight.tolist()  # (group, element, input): 2 filters in each element
        [[[1, 2, 2, 2], [0, 0, 1, 2]]]
        """
        grid = self.pe_rows, self.pe_columns
        if is_matmul(profile):
            return matmul_tiles(profile, math.prod(grid))
        return planar_tiles(profile, grid, self.accumulators)

    def sparse_work(self, measured: Measured) -> Work:
        """All blocks of all images, one after another.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = Scnn(pe_rows=1, pe_columns=2, weight_lanes=1)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item()  # 2 rows * (1 + 2 + 2 + 2), in the first element
        14.0
        """
        tiles: Tiles = measured.detail
        shape = measured.shape
        products = exact_dot(
            ceil_div(tiles.activation, self.activation_lanes),
            ceil_div(tiles.weight, self.weight_lanes).mT,
            most=tiles.most,
        )
        # The blocks of a matrix product are its elements.
        slowest = products.max(-2 if shape.axes else -1).astype(jnp.int32)
        steps = exact_sum(slowest.reshape(-1), most=tiles.most)
        computed, effectual = tiles.products, measured.macs.effectual
        blocks = tiles.weight.shape[1] if shape.axes else 1
        # A block's weights pass once for every vector of activations.
        values = tiles.activation.sum().astype(jnp.float32) * blocks
        weights = computed / self.activation_lanes
        return Work(
            cycles=steps * self.kappa + jnp.float32(shape.images * tiles.halo),
            executed=effectual,
            gated=jnp.float32(0),
            activation_reads=blocks,
            weight_reads=shape.images,
            discarded=computed - effectual,
            activation_accesses=values,
            weight_accesses=weights,
            psum_accesses=2 * effectual * (self.sum_bits / self.value_bits),
            metadata_bits=(values + weights) * self.run_bits,
            crossbar_bits=effectual * self.sum_bits,
        )
