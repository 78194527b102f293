"""Eyeriss: a row-stationary array that gates zero activations but skips none."""

import dataclasses
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax.cost.accelerators.arithmetic import ceil_div
from dst_jax.cost.accelerators.base import Accelerator, dense_bits
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import memory, read
from dst_jax.cost.storage import formats

__all__ = ["EyerissV1"]

CHIP = "Chen et al., JSSC 2017, tables V and VI (through cucapra/fodlam)"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class EyerissV1(Accelerator):
    """Zero activations cost a cycle but little energy; DRAM holds run lengths.

        cycles = ceil(products / (multipliers * utilisation))

    Activations and outputs are stored as runs of at most 2^run_bits - 1 zeros with a
    value, or densely if that is smaller. Weights are stored densely.

    Attributes:
      pes: number of multipliers.
      utilisation: products per cycle and multiplier, in (0, 1].
      tile_filters, tile_rows: numbers of filters and output positions between two reads
        of an operand from the buffer.
      tile_channels: number of channels between two moves of a partial sum. With more
        channels it is written to the buffer and read again.
      run_bits: bits of a run length. Static.
    """

    pes: Number = field(default=168, metadata=read(CHIP))
    utilisation: Number = field(
        default=0.77, metadata=read(f"{CHIP}: AlexNet's products / (168 * cycles)")
    )
    tile_filters: Number = field(
        default=64, metadata=read("mapping of the Sparseloop artifact, table 7 setup")
    )
    tile_rows: Number = field(
        default=676,
        metadata=read("mapping of the Sparseloop artifact: 4 times 13 x 13"),
    )
    tile_channels: Number = field(
        default=4, metadata=read("mapping of the Sparseloop artifact, table 7 setup")
    )
    clock: Number = field(default=200e6, metadata=read(CHIP))
    activation_buffer: Number = field(default=108 * 1024, metadata=memory("108 KB"))
    weight_buffer: Number = field(
        default=8 * 1024, metadata=memory("weight part of the buffer")
    )
    run_bits: int = field(
        default=5,
        metadata=read("Sparseloop artifact: 5 bits for each 16-bit word", static=True),
    )

    stores_weights = False

    @property
    def multipliers(self) -> Number:
        """One in each processing element.

        >>> EyerissV1().multipliers
        168
        """
        return self.pes

    def storage(self, profile: OpProfile) -> Bits:
        """Activation and output in run lengths, the weight dense.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.ones((4, 4), bool), out, Geometry())
        >>> bits = EyerissV1().storage(profile)
        >>> bits.activation.item(), bits.output.item()  # 5 * (16 + 5), 8 * 16
        (105.0, 128.0)
        """
        dense = dense_bits(profile, self.value_bits)

        def coded(mask: Any, limit: Any) -> Any:
            bits = formats.run_length(
                mask, value_bits=self.value_bits, run_bits=self.run_bits
            )
            return jnp.minimum(bits.as_float(), limit)

        return dense._replace(
            activation=coded(profile.activation, dense.activation),
            output=coded(profile.output, dense.output),
        )

    def reduce(self, profile: OpProfile) -> tuple[()]:
        """Nothing: the counts have the number of gated products.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.ones((4, 4), bool), out, Geometry())
        >>> EyerissV1().reduce(profile)
        ()
        """
        return ()

    def sparse_work(self, measured: Measured) -> Work:
        """All products use a cycle; those of zero activations are gated.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.ones((4, 4), bool), out, Geometry())
        >>> design = EyerissV1(pes=4, utilisation=0.5)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item(), work.gated.item()  # 32 / 2; 3 zeros * 4 filters
        (16.0, 12.0)
        """
        shape, macs = measured.shape, measured.macs
        rate = self.pes * self.utilisation
        return Work(
            cycles=jnp.ceil(jnp.float32(shape.macs) / rate),
            executed=macs.by_activation,
            # Padding consists of zero activations.
            gated=macs.dense - macs.by_activation,
            activation_reads=ceil_div(shape.filters, self.tile_filters),
            weight_reads=ceil_div(shape.rows, self.tile_rows),
            psum_moves=2 * (ceil_div(shape.channels, self.tile_channels) - 1),
        )
