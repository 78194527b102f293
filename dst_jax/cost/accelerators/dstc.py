"""The dual-side sparse tensor core: outer products of compressed columns and rows."""

import dataclasses
from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from dst_jax.cost.accelerators.arithmetic import (
    ceil_div,
    exact_sum,
    nonzeros,
    pad_to,
)
from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.lowering import tap_views, weight_by_channel
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, read
from dst_jax.cost.storage import formats

__all__ = ["Dstc"]

PAPER = "Wang et al., ISCA 2021 (through reading notes)"


class Steps(NamedTuple):
    """Instructions per contracted index, along the rows and along the columns."""

    rows: Int[Array, " contracted"]
    columns: Int[Array, " contracted"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Dstc(Accelerator):
    """The operation as a matrix product, one warp tile at a time.

        instructions = sum_k (sum_i ceil(nA[i, k] / rows))
                             * (sum_j ceil(nB[k, j] / columns))
        cycles = ceil(instructions / per_cycle)

    Every product is added to an accumulator of its own, so partial sums cost the most
    energy; the bitmaps of both sides are read for every pair of tiles.

    where nA[i, k] are the nonzeros of column k in the i-th tile of `tile` output
    positions, nB[k, j] those of row k in the j-th tile of filters, and k runs over
    taps and channels. Convolutions lower to this without im2col in memory.

    Attributes:
      per_cycle: number of instructions started per cycle.
      tile: number of rows and columns of a warp tile. Static.
      rows, columns: sides of one instruction's outer product. Static.
    """

    per_cycle: Number = field(
        default=8,
        metadata=read("1024 multipliers, as in the Sparseloop artifact, fig. 15"),
    )
    tile: int = field(default=32, metadata=read(PAPER, static=True))
    rows: int = field(default=8, metadata=read(PAPER, static=True))
    columns: int = field(default=16, metadata=read(PAPER, static=True))
    clock: Number = field(default=1e9, metadata=assumed("a round number"))

    stores_weights = False

    @property
    def multipliers(self) -> Number:
        """An outer product per instruction.

        >>> Dstc().multipliers
        1024
        """
        return self.per_cycle * self.rows * self.columns

    def storage(self, profile: OpProfile) -> Bits:
        """Two-level bitmaps, in tiles of `tile` consecutive channels or filters.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> Dstc(tile=2).storage(profile).weight.item()  # 8 + 6 * 2 + 10 * 16
        180.0
        """

        def coded(mask: Any) -> Any:
            bits = formats.two_level_bitmask(
                mask, value_bits=self.value_bits, tile=self.tile
            )
            return bits.as_float()

        return Bits(*map(coded, (profile.activation, profile.weight, profile.output)))

    def reduce(self, profile: OpProfile) -> Steps:
        """The instructions along both sides.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> steps = Dstc(tile=2, rows=1, columns=1).reduce(profile)
        >>> steps.rows.tolist(), steps.columns.tolist()
        ([2, 1, 1, 1], [1, 2, 3, 4])
        """

        def tiles(lines: Any, size: int) -> Any:
            """The instructions of all tiles of the first axis, for each last index."""
            lines = pad_to(lines, 0, self.tile)
            lines = lines.reshape(-1, self.tile, *lines.shape[1:])
            return ceil_div(nonzeros(lines, 1), size).sum(0)

        channels = profile.channels
        views = tap_views(profile.activation, profile)
        rows = [tiles(view.reshape(-1, channels), self.rows) for view in views]
        weight = weight_by_channel(profile).reshape(profile.taps * channels, -1)
        return Steps(jnp.concatenate(rows), tiles(weight.T, self.columns))

    def sparse_work(self, measured: Measured) -> Work:
        """All instructions, `per_cycle` at a time.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = Dstc(tile=2, rows=1, columns=1, per_cycle=1)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item()  # 2 * 1 + 1 * 2 + 1 * 3 + 1 * 4
        11.0
        """
        shape = measured.shape
        per_tile = ceil_div(self.tile, self.rows), ceil_div(self.tile, self.columns)
        instructions = exact_sum(
            *measured.detail,
            most=ceil_div(shape.rows, self.tile) * per_tile[0],
            most_y=ceil_div(shape.filters, self.tile) * per_tile[1],
        )
        tiles = ceil_div(shape.rows, self.tile) * ceil_div(shape.filters, self.tile)
        contracted = shape.groups * shape.contracted
        slots = instructions * (self.rows * self.columns)
        return Work(
            cycles=jnp.ceil(instructions / self.per_cycle),
            executed=measured.macs.effectual,
            gated=jnp.float32(0),
            activation_reads=ceil_div(shape.filters, self.tile),
            weight_reads=ceil_div(shape.rows, self.tile),
            slots=slots,
            activation_accesses=slots / self.columns,
            weight_accesses=slots / self.rows,
            psum_accesses=0,
            # Every product goes to its own place among the outputs of the tile.
            accumulator_accesses=2 * measured.macs.effectual,
            metadata_bits=jnp.float32(2 * self.tile * contracted * tiles),
        )
