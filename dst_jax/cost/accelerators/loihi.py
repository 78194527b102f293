"""Loihi: an event-driven processor, whose work follows nonzero activations."""

import dataclasses
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.lowering import weight_by_channel
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, read
from dst_jax.cost.storage import formats

__all__ = ["Loihi"]

PAPER = "Davies et al., IEEE Micro 2018, table 2"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Loihi(Accelerator):
    """A nonzero activation is an event; each of its nonzero weights is an operation.

        cycles = ceil((effectual products + update_cycles * outputs) / cores)

    A cycle is the time of one synaptic operation, and every output is a neuron that is
    updated once. The operations are spread evenly over the cores. An activation is one
    event that carries its value, as on Loihi 2; the time steps of binary spikes, the
    mesh and the barrier after a layer are left out. The chip holds its weights; here
    they are read from DRAM, as for all designs, unless `dram_bandwidth` is infinite.

    Attributes:
      cores: number of cores.
      update_cycles: time of an update of a neuron, in synaptic operations.
    """

    cores: Number = field(
        default=128, metadata=read("Davies et al., IEEE Micro 2018: 128 cores")
    )
    update_cycles: Number = field(
        default=8.4 / 3.5, metadata=read(f"{PAPER}: 8.4 ns (active) / 3.5 ns")
    )
    clock: Number = field(
        default=1 / 3.5e-9,
        metadata=read(f"{PAPER}: 3.5 ns per synaptic operation (max)"),
    )
    value_bits: int = field(
        default=8, metadata=assumed("weights of at most 9 bits", static=True)
    )

    @property
    def multipliers(self) -> Number:
        """One operation in each core.

        >>> Loihi().multipliers
        128
        """
        return self.cores

    def storage(self, profile: OpProfile) -> Bits:
        """Events with their address; lists of nonzero weights with their target.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> Loihi().storage(profile).activation.item()  # 8 * (8 + 1 + 2)
        88.0
        """

        def coded(mask: Any) -> Any:
            return formats.coo(mask, value_bits=self.value_bits).as_float()

        masks = profile.activation, weight_by_channel(profile), profile.output
        return Bits(*map(coded, masks))

    def reduce(self, profile: OpProfile) -> tuple[()]:
        """Nothing: the counts have the number of operations.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> Loihi().reduce(OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry()))
        ()
        """
        return ()

    def sparse_work(self, measured: Measured) -> Work:
        """All operations and updates.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = Loihi(cores=4, update_cycles=2)
        >>> design.sparse_work(design.measure(profile)).cycles.item()  # (20 + 2 * 8)/4
        9.0
        """
        shape, operations = measured.shape, measured.macs.effectual
        events = measured.macs.by_activation / max(shape.filters, 1)
        spent = operations + self.update_cycles * jnp.float32(shape.outputs)
        return Work(
            cycles=jnp.ceil(spent / self.cores),
            executed=operations,
            gated=jnp.float32(0),
            activation_reads=1,
            weight_reads=shape.images,
            slots=operations,  # without a clock nothing idles
            activation_accesses=events,
            accumulator_accesses=jnp.float32(shape.outputs),
            metadata_bits=operations * max(shape.filters - 1, 1).bit_length(),
        )
