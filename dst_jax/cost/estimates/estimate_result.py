"""What `estimate` returns: cycles, traffic and energy of operations and networks."""

import collections
import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dst_jax.cost.accelerators.work import Bits, Macs
from dst_jax.cost.estimates.energy import Energy

__all__ = ["BOUNDS", "Cycles", "Estimate", "OpEstimate", "total_of"]

BOUNDS = ("compute", "dram", "sram")
"""What can set the time of an operation; `OpEstimate.bound` is an index into it."""

Number = Any
"""A float32 scalar; with a leading axis after a sweep."""


class Cycles(NamedTuple):
    """Attributes: of the multipliers, of DRAM, of the buffer, and of the operation."""

    compute: Number
    dram: Number
    sram: Number
    total: Number


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OpEstimate:
    """One operation on an accelerator, or the sum of several.

    Attributes:
      cycles: `total` is the largest of the three in every operation: memory and
        multipliers work at the same time, operations one after another.
      seconds: `cycles.total / clock`.
      macs: products, as `cost.count` counts them.
      executed, gated: products that took a multiplier's slot; slots kept idle.
      bits: storage in the accelerator's format.
      dram_bits, sram_bits: moved.
      energy: by part, in the energy table's unit.
      multipliers: products that the machine can start in a cycle.
      mode: "sparse", or "dense: why"; "mixed" for a sum of both. Static.
    """

    cycles: Cycles
    seconds: Number
    macs: Macs
    executed: Number
    gated: Number
    bits: Bits
    dram_bits: Number
    sram_bits: Number
    energy: Energy
    multipliers: Number
    mode: str = dataclasses.field(metadata={"static": True})

    @property
    def utilisation(self) -> Float[Array, "..."]:
        """The fraction of multiplier slots that are used while computing."""
        slots = self.cycles.compute * self.multipliers
        return self.executed / jnp.maximum(slots, 1)

    @property
    def effectual_per_cycle(self) -> Float[Array, "..."]:
        """Products of two nonzeros per cycle, waiting for memory included."""
        return self.macs.effectual / jnp.maximum(self.cycles.total, 1)

    @property
    def bound(self) -> Int[Array, "..."]:
        """Which of `BOUNDS` takes longest."""
        return jnp.argmax(jnp.stack(jnp.broadcast_arrays(*self.cycles[:3])), 0)

    @property
    def binds(self) -> str:
        """The name of what takes longest; on the host, for one configuration."""
        return BOUNDS[int(self.bound)]

    def per(self, examples: int) -> "OpEstimate":
        """The share of one of so many examples; they share the stored weights."""
        share = jax.tree.map(lambda x: x / examples, self)
        bits = share.bits._replace(weight=self.bits.weight)
        return dataclasses.replace(share, bits=bits, multipliers=self.multipliers)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Estimate:
    """A network on an accelerator, for one batch.

    Attributes:
      layers: by operation, in order of execution.
      total: their sum.
      examples: in the batch. Static.
      table, unit: name and unit of the energy table. Static.
    """

    layers: dict[str, OpEstimate]
    total: OpEstimate
    examples: int = dataclasses.field(metadata={"static": True})
    table: str = dataclasses.field(metadata={"static": True})
    unit: str = dataclasses.field(metadata={"static": True})

    @property
    def per_example(self) -> "Estimate":
        """The share of one example of the batch.

        Its part of the weights' traffic is that of the batch / examples: the latency
        of one example alone is the estimate of a batch of one.
        """
        layers = {k: layer.per(self.examples) for k, layer in self.layers.items()}
        return dataclasses.replace(
            self,
            layers=collections.OrderedDict(layers),
            total=self.total.per(self.examples),
            examples=1,
        )


def total_of(layers: list[OpEstimate]) -> OpEstimate:
    """The sum of operations that run one after another."""
    modes = {layer.mode for layer in layers}
    mode = modes.pop() if len(modes) == 1 else "mixed"
    alike = [dataclasses.replace(layer, mode=mode) for layer in layers]
    total = jax.tree.map(lambda *xs: sum(xs[1:], start=xs[0]), *alike)
    return dataclasses.replace(total, multipliers=layers[0].multipliers)
