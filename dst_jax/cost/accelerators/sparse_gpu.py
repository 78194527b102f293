"""Data-centre GPUs with 2:4 tensor cores and 8-bit floating point."""

import dataclasses
from dataclasses import field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.cost.accelerators.arithmetic import ceil_div
from dst_jax.cost.accelerators.tensor_core import TensorCore24
from dst_jax.cost.accelerators.work import OpShape
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, read

__all__ = ["Blackwell24", "Hopper24"]

H100 = "NVIDIA H100 SXM data sheet (through hpctech.co.jp)"
B200 = "NVIDIA HGX B200 data sheet, 1,000 W (through glennklockwood.com)"
TILE = "a tile of output of one multiprocessor, as CUTLASS has it"
HALF_L2 = f"{H100}: half of 50 MB of L2 cache"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Hopper24(TensorCore24):
    """An H100: multiprocessors that each compute a tile of the output at a time.

        tiles  = groups * ceil(K / columns) * ceil(images * P / rows)
        cycles = ceil(tiles / multiprocessors) * rows * columns * taps * C
                 / products_per_multiprocessor

    with K filters and C channels of one group and P output positions of one image; a
    wave of tiles that does not fill the GPU takes as long as one that does. Weights
    that are 2:4 along channels halve C, as `TensorCore24` says. The dense peak is that
    of the data sheet, and DRAM bandwidth is the real one, so small batches are bound by
    memory. Launches and the bandwidth of the L2 cache are left out.

    Attributes:
      multiprocessors: number of multiprocessors.
      products_per_multiprocessor: number of products of one of them in a cycle.
    """

    multiprocessors: Number = field(default=132, metadata=read(H100))
    products_per_multiprocessor: Number = field(
        default=4096,
        metadata=read(f"{H100}: 1,979 TFLOPS of dense FP8 / (2 * 132 * 1.83 GHz)"),
    )
    rows: Number = field(default=128, metadata=assumed(TILE))
    columns: Number = field(default=128, metadata=assumed(TILE))
    clock: Number = field(
        default=1.83e9,
        metadata=read("H100 SXM, clock at low precision (glennklockwood.com)"),
    )
    activation_buffer: Number = field(default=25_000_000, metadata=read(HALF_L2))
    weight_buffer: Number = field(default=25_000_000, metadata=read(HALF_L2))
    dram_bandwidth: Number = field(
        default=3.35e12, metadata=read(f"{H100}: 3,350 GB/s of HBM3")
    )
    value_bits: int = field(default=8, metadata=read(f"{H100}: FP8", static=True))

    @property
    def multipliers(self) -> Number:
        """Those of all multiprocessors.

        >>> 2 * Hopper24().multipliers * Hopper24().clock / 1e12  # TFLOPS
        1978.85952
        """
        return self.multiprocessors * self.products_per_multiprocessor

    def _array_cycles(self, shape: OpShape) -> Float[Array, "..."]:
        tiles = ceil_div(shape.filters, self.columns) * ceil_div(shape.rows, self.rows)
        waves = ceil_div(shape.groups * tiles, self.multiprocessors)
        products = jnp.float32(self.rows * self.columns) * shape.contracted
        return jnp.ceil(waves * products / self.products_per_multiprocessor)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Blackwell24(Hopper24):
    """A B200: as `Hopper24`, with its own numbers."""

    multiprocessors: Number = field(
        default=148, metadata=read("B200: 148 (cfregly/ai-performance-engineering)")
    )
    products_per_multiprocessor: Number = field(
        default=8192, metadata=assumed("twice those of Hopper at the same precision")
    )
    clock: Number = field(
        default=1.856e9,
        metadata=read(f"{B200}: 4,500 TFLOPS of dense FP8 / (2 * 148 * 8192)"),
    )
    activation_buffer: Number = field(
        default=25_000_000, metadata=assumed("as Hopper: no data sheet gives the L2")
    )
    weight_buffer: Number = field(
        default=25_000_000, metadata=assumed("as Hopper: no data sheet gives the L2")
    )
    dram_bandwidth: Number = field(
        default=8e12, metadata=read(f"{B200}: 8 TB/s of HBM3e")
    )
    value_bits: int = field(default=8, metadata=read(f"{B200}: FP8", static=True))
