"""Results of `estimate`: cycles, traffic and energy of operations and networks."""

import collections
import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dst_jax.cost.accelerators.work import Bits, Macs
from dst_jax.cost.estimates.energy import Energy, Number

__all__ = ["BOUNDS", "Cycles", "Estimate", "OpEstimate", "total_of"]

BOUNDS = ("compute", "dram", "sram")
"""The parts that can set the time of an operation, indexed by `OpEstimate.bound`."""


class Cycles(NamedTuple):
    """Cycles of the multipliers, of DRAM, of the buffer, and of the operation.

    They are float32 scalars, with a leading axis after a sweep.
    """

    compute: Number
    dram: Number
    sram: Number
    total: Number


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class OpEstimate:
    """One operation on an accelerator, or the sum of several.

    Attributes:
      cycles: cycles by part. Memory and multipliers work at the same time, so `total`
        is the largest of the three in every operation; operations run one by one.
      seconds: time, `cycles.total / clock`.
      macs: products, as `cost.count` counts them.
      executed, gated: products that used a multiplier's slot, and slots kept idle.
      bits: bits of the arrays in the accelerator's format.
      dram_bits, sram_bits: bits moved.
      energy: energy by part, in the energy table's unit.
      multipliers: number of products that the accelerator can start in a cycle.
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
        """The fraction of multiplier slots that are used while computing.

        >>> cycles, macs = Cycles(8, 16, 1, 16), Macs(64, 64, 32, 32, 16)
        >>> rest = 16, 0, Bits(8, 8, 8), 24, 24, Energy(1, 0, 1, 1, 1, 0), 8, "sparse"
        >>> layer = OpEstimate(cycles, 8e-9, macs, *rest)
        >>> layer.utilisation.item()  # 16 products in 8 cycles of 8 multipliers
        0.25
        """
        slots = self.cycles.compute * self.multipliers
        return self.executed / jnp.maximum(slots, 1)

    @property
    def effectual_per_cycle(self) -> Float[Array, "..."]:
        """Products of two nonzeros per cycle, waiting for memory included.

        >>> cycles, macs = Cycles(8, 16, 1, 16), Macs(64, 64, 32, 32, 16)
        >>> rest = 16, 0, Bits(8, 8, 8), 24, 24, Energy(1, 0, 1, 1, 1, 0), 8, "sparse"
        >>> layer = OpEstimate(cycles, 8e-9, macs, *rest)
        >>> layer.effectual_per_cycle.item()  # 16 products, 16 cycles with waiting
        1.0
        """
        return self.macs.effectual / jnp.maximum(self.cycles.total, 1)

    @property
    def bound(self) -> Int[Array, "..."]:
        """The index in `BOUNDS` of the part that takes longest.

        >>> cycles, macs = Cycles(8, 16, 1, 16), Macs(64, 64, 32, 32, 16)
        >>> rest = 16, 0, Bits(8, 8, 8), 24, 24, Energy(1, 0, 1, 1, 1, 0), 8, "sparse"
        >>> layer = OpEstimate(cycles, 8e-9, macs, *rest)
        >>> layer.bound.item()
        1
        """
        return jnp.argmax(jnp.stack(jnp.broadcast_arrays(*self.cycles[:3])), 0)

    @property
    def binds(self) -> str:
        """The name of the part that takes longest, for one configuration.

        >>> cycles, macs = Cycles(8, 16, 1, 16), Macs(64, 64, 32, 32, 16)
        >>> rest = 16, 0, Bits(8, 8, 8), 24, 24, Energy(1, 0, 1, 1, 1, 0), 8, "sparse"
        >>> layer = OpEstimate(cycles, 8e-9, macs, *rest)
        >>> layer.binds
        'dram'
        """
        return BOUNDS[int(self.bound)]

    def per(self, examples: int) -> "OpEstimate":
        """The share of one of `examples` examples, which share the stored weights.

        >>> cycles, macs = Cycles(8, 16, 1, 16), Macs(64, 64, 32, 32, 16)
        >>> rest = 16, 0, Bits(8, 8, 8), 24, 24, Energy(1, 0, 1, 1, 1, 0), 8, "sparse"
        >>> layer = OpEstimate(cycles, 8e-9, macs, *rest)
        >>> half = layer.per(2)
        >>> half.executed, half.bits  # the stored weights are not halved
        (8.0, Bits(activation=4.0, weight=8, output=4.0))
        """
        share = jax.tree.map(lambda x: x / examples, self)
        bits = share.bits._replace(weight=self.bits.weight)
        return dataclasses.replace(share, bits=bits, multipliers=self.multipliers)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Estimate:
    """A network on an accelerator, for one batch.

    Attributes:
      layers: estimates by operation, in order of execution.
      total: sum of the layers.
      examples: number of examples in the batch. Static.
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

        Its share of the weights' traffic is that of the batch / examples. The latency
        of a single example is the estimate of a batch of one.

        >>> cycles, macs = Cycles(8, 16, 1, 16), Macs(64, 64, 32, 32, 16)
        >>> rest = 16, 0, Bits(8, 8, 8), 24, 24, Energy(1, 0, 1, 1, 1, 0), 8, "sparse"
        >>> layer = OpEstimate(cycles, 8e-9, macs, *rest)
        >>> batch = Estimate({"fc": layer}, layer, 4, "horowitz45", "pJ")
        >>> batch.per_example.total.dram_bits, batch.per_example.examples
        (6.0, 1)
        """
        layers = {k: layer.per(self.examples) for k, layer in self.layers.items()}
        return dataclasses.replace(
            self,
            layers=collections.OrderedDict(layers),
            total=self.total.per(self.examples),
            examples=1,
        )


def total_of(layers: list[OpEstimate]) -> OpEstimate:
    """The sum of operations that run one after another.

    >>> cycles, macs = Cycles(8, 2, 1, 8), Macs(64, 64, 32, 32, 16)
    >>> bits, energy = Bits(8, 8, 8), Energy(1, 0, 1, 1, 1, 0)
    >>> layer = OpEstimate(cycles, 8e-9, macs, 16, 0, bits, 24, 24, energy, 8, "sparse")
    >>> total_of([layer, layer]).cycles.total
    16
    """
    modes = {layer.mode for layer in layers}
    mode = modes.pop() if len(modes) == 1 else "mixed"
    alike = [dataclasses.replace(layer, mode=mode) for layer in layers]
    total = jax.tree.map(lambda *xs: sum(xs[1:], start=xs[0]), *alike)
    return dataclasses.replace(total, multipliers=layers[0].multipliers)
