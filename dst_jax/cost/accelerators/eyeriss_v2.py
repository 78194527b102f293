"""Eyeriss v2: processing elements that skip zeros of both operands."""

import dataclasses
from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from dst_jax.cost.accelerators.arithmetic import (
    ceil_div,
    exact_dot,
    exact_sum,
    nonzeros,
    pad_to,
)
from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.lowering import (
    is_depthwise,
    is_matmul,
    tap_views,
    weight_by_channel,
)
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import memory, read
from dst_jax.cost.storage import formats

__all__ = ["EyerissV2"]

PAPER = "Chen et al., JETCAS 2019"


class Grid(NamedTuple):
    """Numbers of blocks of channels, output rows and filters, one for each element."""

    channels: int
    rows: int
    filters: int


class Blocks(NamedTuple):
    """Nonzeros of the operands by block.

    Attributes:
      activation: nonzeros that (channel block, row block) reads per tap and channel.
      weight: nonzeros of each pass over the filters of a block, per tap and channel.
    """

    activation: Int[Array, "channels rows contracted"]
    weight: Int[Array, "channels contracted filters passes"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class EyerissV2(Accelerator):
    """Every nonzero activation meets the nonzero weights of its tap and channel.

        cycles of one element = sum over passes, taps t and channels c of
                                A[t, c] * ceil(W_pass[t, c] / simd)

    with A the nonzero activations that its output rows read, W_pass the nonzero
    weights in a pass of `pass_filters` filters. Channels, output rows and filters are
    divided among the elements in the grid that is best for dense operands; the slowest
    element sets the time. Depthwise convolutions skip no product. With one element and
    `simd` 1 the cycles are the effectual products.

    Attributes:
      simd: number of products per element and cycle.
      pes: number of elements. Static.
      pass_filters: number of filters whose partial sums an element holds. Static.
      run_bits, pointer_bits: bits of runs and pointers of compressed columns. Static.
    """

    simd: Number = field(default=2, metadata=read(PAPER))
    pes: int = field(default=192, metadata=read(PAPER, static=True))
    pass_filters: int = field(
        default=32, metadata=memory("32 partial sums per element", static=True)
    )
    run_bits: int = field(
        default=4,
        metadata=read(
            "Sparseloop artifact: 4-bit counts next to the value", static=True
        ),
    )
    pointer_bits: int = field(
        default=7, metadata=read("Sparseloop artifact: 7-bit addresses", static=True)
    )
    clock: Number = field(default=200e6, metadata=memory(f"{PAPER}: 200 MHz"))
    activation_buffer: Number = field(
        default=192 * 1024, metadata=memory(f"{PAPER}: 192 KB")
    )
    value_bits: int = field(
        default=8, metadata=read(f"{PAPER}: 8-bit operands", static=True)
    )

    @property
    def multipliers(self) -> Number:
        """`simd` in each element.

        >>> EyerissV2().multipliers
        384
        """
        return self.pes * self.simd

    def storage(self, profile: OpProfile) -> Bits:
        """Compressed columns: channels of a pixel, filters of a tap and channel.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> EyerissV2().storage(profile).weight.item()  # 10 * (8 + 4) + 5 * 7
        155.0
        """

        def coded(mask: Any) -> Any:
            bits = formats.csc(
                mask,
                value_bits=self.value_bits,
                run_bits=self.run_bits,
                pointer_bits=self.pointer_bits,
            )
            return bits.as_float()

        masks = profile.activation, weight_by_channel(profile), profile.output
        return Bits(*map(coded, masks))

    def grid(self, profile: OpProfile) -> Grid:
        """The first of the grids that are fastest for dense operands.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, w = jnp.ones((1, 8), bool), jnp.ones((8, 24), bool)
        >>> EyerissV2().grid(OpProfile(x, w, jnp.ones((1, 24), bool), Geometry()))
        Grid(channels=8, rows=1, filters=24)
        """
        rows = _output_rows(profile)
        filters = profile.filters // profile.geometry.groups

        def steps(grid: Grid) -> int:
            return (
                ceil_div(profile.channels, grid.channels)
                * ceil_div(rows, grid.rows)
                * ceil_div(filters, grid.filters)
            )

        return min(_grids(self.pes), key=steps)

    def refusal(self, profile: OpProfile) -> str | None:
        """Depthwise convolutions have nothing to skip in a column.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, w = jnp.ones((1, 4, 3), bool), jnp.ones((1, 1, 3), bool)
        >>> window = Geometry((1,), ((0, 0),), (1,), (1,), groups=3)
        >>> EyerissV2().refusal(OpProfile(x, w, jnp.ones((1, 4, 3), bool), window))
        'depthwise'
        """
        return "depthwise" if is_depthwise(profile) else super().refusal(profile)

    def dense_work(self, measured: Measured) -> Work:
        """All products; a column of one filter fills one slot of `simd`.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = EyerissV2(pes=1, simd=3)
        >>> work = design.dense_work(design.measure(profile))
        >>> work.cycles.item()  # 8 columns of 4 filters, 2 slots each
        16.0
        """
        work, filters = super().dense_work(measured), measured.shape.filters
        slots = jnp.ceil(measured.macs.dense / filters) * ceil_div(filters, self.simd)
        return work._replace(cycles=jnp.ceil(slots / self.pes))

    def reduce(self, profile: OpProfile) -> Blocks:
        """Nonzeros by block.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> found = EyerissV2(pes=1).reduce(profile)
        >>> found.activation.tolist(), found.weight.ravel().tolist()  # by channel
        ([[[2, 2, 2, 2]]], [1, 2, 3, 4])
        """
        grid = self.grid(profile)
        return Blocks(_tap_counts(profile, grid), self._passes(profile, grid))

    def sparse_work(self, measured: Measured) -> Work:
        """The slowest element.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = EyerissV2(pes=1, simd=2)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item()  # 2 rows * (1 + 1 + 2 + 2)
        12.0
        """
        activation, weight = measured.detail
        shape = measured.shape
        slots = ceil_div(weight, self.simd).sum(-1)
        block = min(weight.shape[-1] * self.pass_filters, shape.filters)
        most = activation.shape[-1] * shape.rows * block
        per_element = exact_dot(activation, slots, most=most)
        # Times that an activation meets a column of weights.
        columns = weight.shape[-2] * weight.shape[-1]
        visits = exact_sum(activation.reshape(-1), most=max(shape.rows, 1)) * columns
        return Work(
            cycles=per_element.max().astype(jnp.float32),
            executed=measured.macs.effectual,
            gated=jnp.float32(0),
            activation_reads=ceil_div(shape.filters, self.pass_filters),
            weight_reads=shape.images,
            activation_accesses=visits,
            # A run with every value, and two pointers that enclose a column.
            metadata_bits=measured.macs.effectual * self.run_bits
            + visits * (self.run_bits + 2 * self.pointer_bits),
        )

    def _passes(
        self, profile: OpProfile, grid: Grid
    ) -> Int[Array, "channels contracted filters passes"]:
        weight = weight_by_channel(profile)
        weight = pad_to(pad_to(weight, 1, grid.channels), 2, grid.filters)
        taps, channels, filters = weight.shape
        block = filters // grid.filters
        size = min(block, self.pass_filters)
        weight = weight.reshape(taps, channels, grid.filters, block)
        weight = pad_to(weight, 3, size).reshape(taps, channels, grid.filters, -1, size)
        counts = nonzeros(weight, 4)
        counts = counts.reshape(taps, grid.channels, -1, *counts.shape[2:])
        counts = counts.swapaxes(0, 1)
        return counts.reshape(grid.channels, -1, *counts.shape[3:])


def _grids(pes: int) -> list[Grid]:
    divisors = [n for n in range(1, pes + 1) if pes % n == 0]
    return [
        Grid(c, r, pes // (c * r))
        for c in divisors
        for r in divisors
        if pes % (c * r) == 0
    ]


def _output_rows(profile: OpProfile) -> int:
    """The number of rows to divide: of a matrix, or of the output map."""
    return profile.output.shape[0 if is_matmul(profile) else 1]


def _tap_counts(
    profile: OpProfile, grid: Grid
) -> Int[Array, "channels rows contracted"]:
    """Nonzero activations that each block of output rows reads, over all images."""
    if is_matmul(profile):
        reads = profile.activation.astype(jnp.int32)[None]
    else:
        images = nonzeros(profile.activation, 0)[None]
        views = (view[0] for view in tap_views(images, profile))
        reads = jnp.stack([view.sum(tuple(range(1, view.ndim - 1))) for view in views])
    reads = pad_to(pad_to(reads, 1, grid.rows), 2, grid.channels)
    taps, rows, channels = reads.shape
    reads = reads.reshape(taps, grid.rows, rows // grid.rows, channels).sum(2)
    reads = reads.reshape(taps, grid.rows, grid.channels, -1).transpose(2, 1, 0, 3)
    return reads.reshape(grid.channels, grid.rows, -1)
