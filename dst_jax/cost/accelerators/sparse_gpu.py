"""Data-centre GPUs with 2:4 tensor cores and 8-bit floating point."""

import dataclasses
from dataclasses import field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.cost.accelerators.arithmetic import ceil_div
from dst_jax.cost.accelerators.tensor_core import TensorCore24
from dst_jax.cost.accelerators.work import Measured, OpShape, Work
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, read

__all__ = ["Blackwell24", "Hopper24"]

H100 = "NVIDIA H100 SXM data sheet (through hpctech.co.jp)"
B200 = "NVIDIA HGX B200 data sheet, 1,000 W (through glennklockwood.com)"
WGMMA = "PTX: wgmma.mma_async.sp has shapes m64nN, N in steps of 8"
HALF_L2 = f"{H100}: half of 50 MB of L2 cache"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Hopper24(TensorCore24):
    """An H100, whose instructions multiply 64 filters by 8 or more output positions.

        cycles = ceil(groups * K' * P' * taps * C
                      / (multiprocessors * products_per_multiprocessor))

    with C channels and K filters of one group, K' = K rounded up to `columns`, and P'
    the output positions of all images rounded up to `rows`: tiles are shared out
    evenly. An operand that is 2:4 along channels halves C, as `TensorCore24` says. The
    peak is that of the data sheet, and DRAM bandwidth is the real one, so small batches
    are bound by memory. Launches, uneven tiles, the bandwidth of the L2 cache and the
    limit of power are left out.

    Attributes:
      multiprocessors: number of multiprocessors.
      products_per_multiprocessor: number of products of one of them in a cycle.
      tile: number of filters and of positions between two reads from the L2 cache.
    """

    multiprocessors: Number = field(default=132, metadata=read(H100))
    products_per_multiprocessor: Number = field(
        default=4096,
        metadata=read(f"{H100}: 1,979 TFLOPS of dense FP8 / (2 * 132 * 1.83 GHz)"),
    )
    tile: Number = field(default=128, metadata=assumed("a usual tile of CUTLASS"))
    rows: Number = field(default=8, metadata=read(WGMMA))
    columns: Number = field(default=64, metadata=read(WGMMA))
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

    def sparse_work(self, measured: Measured) -> Work:
        """That of tensor cores; each operand is read from the cache once per tile.

        >>> from dst_jax.cost.counting.op_profile import Geometry, OpProfile
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> design = Hopper24(multiprocessors=1, products_per_multiprocessor=64)
        >>> design.sparse_work(design.measure(profile)).cycles.item()  # 64 * 8 * 2 / 64
        16.0
        """
        shape = measured.shape
        return TensorCore24.sparse_work(self, measured)._replace(
            activation_reads=ceil_div(shape.filters, self.tile),
            weight_reads=ceil_div(shape.rows, self.tile),
        )

    def _array_cycles(self, shape: OpShape) -> Float[Array, "..."]:
        rows = self.rows * ceil_div(shape.rows, self.rows)
        filters = self.columns * ceil_div(shape.filters, self.columns)
        products = jnp.float32(rows) * filters * (shape.groups * shape.contracted)
        return jnp.ceil(products / self.multipliers)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Blackwell24(Hopper24):
    """A B200: as `Hopper24`, with its own numbers."""

    multiprocessors: Number = field(
        default=148, metadata=read("B200: 148 (READMEs of public benchmarks of it)")
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
