"""The first TPU: a dense weight-stationary systolic array."""

import dataclasses
from dataclasses import field

import jax
import jax.numpy as jnp

from dst_jax.cost.accelerators.arithmetic import ceil_div, exact_sum
from dst_jax.cost.accelerators.base import Accelerator, dense_bits
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import read

__all__ = ["TpuV1"]

PAPER = "Jouppi et al., ISCA 2017"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TpuV1(Accelerator):
    """A tile of weights stays in the array while all rows of inputs pass.

        cycles = groups * ceil(taps * C / rows) * ceil(K / columns)
                 * max(images * P, rows)

    with K filters and C channels of one group and P output positions of one image. The
    next tile is shifted in meanwhile, which takes `rows` cycles. It is the control:
    zeros save nothing. Weights come from a slow DRAM, so that small batches wait.

    Attributes:
      rows: number of inputs that are multiplied at once.
      columns: number of filters computed at once.
      accumulators: number of rows of outputs that fit the accumulators.
    """

    rows: Number = field(default=256, metadata=read(f"{PAPER}: 256 x 256 array"))
    columns: Number = field(default=256, metadata=read(f"{PAPER}: 256 x 256 array"))
    accumulators: Number = field(
        default=2048, metadata=read(f"{PAPER}: 4096 rows, in two halves")
    )
    clock: Number = field(default=700e6, metadata=read(f"{PAPER}: 700 MHz"))
    activation_buffer: Number = field(
        default=24 * 2**20, metadata=read(f"{PAPER}: 24 MiB unified buffer")
    )
    weight_buffer: Number = field(
        default=4 * 64 * 2**10, metadata=read(f"{PAPER}: a queue of four 64 KiB tiles")
    )
    dram_bandwidth: Number = field(
        default=34e9, metadata=read(f"{PAPER}, table 2: 34 GB/s")
    )
    value_bits: int = field(
        default=8, metadata=read(f"{PAPER}: 8-bit operands", static=True)
    )

    stores_weights = False

    @property
    def multipliers(self) -> Number:
        """Rows times columns.

        >>> TpuV1().multipliers
        65536
        """
        return self.rows * self.columns

    def storage(self, profile: OpProfile) -> Bits:
        """Dense.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> TpuV1().storage(profile).weight.item()  # 16 elements
        128.0
        """
        return dense_bits(profile, self.value_bits)

    def reduce(self, profile: OpProfile) -> tuple[()]:
        """Nothing: the masks do not matter.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> TpuV1().reduce(OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry()))
        ()
        """
        return ()

    def sparse_work(self, measured: Measured) -> Work:
        """All products, one tile of weights after another.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> array = TpuV1(rows=2, columns=2)
        >>> array.sparse_work(array.measure(profile)).cycles.item()  # 4 tiles of 2 rows
        8.0
        """
        shape, products = measured.shape, measured.macs.dense
        tiles = ceil_div(shape.contracted, self.rows) * ceil_div(
            shape.filters, self.columns
        )
        cycles = exact_sum(
            jnp.atleast_1d(jnp.asarray(tiles * shape.groups, jnp.int32)),
            jnp.atleast_1d(jnp.maximum(jnp.int32(shape.rows), self.rows)),
            most=max(shape.contracted * shape.filters * shape.groups, 1),
            most_y=2**31 - 1,
        )
        return Work(
            cycles=cycles,
            executed=products,
            gated=jnp.float32(0),
            activation_reads=ceil_div(shape.filters, self.columns),
            weight_reads=ceil_div(shape.rows, self.accumulators),
            # A column adds its products on the way down.
            psum_accesses=0,
            accumulator_accesses=2 * products / self.rows,
        )
