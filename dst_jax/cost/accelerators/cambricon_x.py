"""Cambricon-X: processing elements that skip zero weights."""

import dataclasses
from dataclasses import field

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from dst_jax.cost.accelerators.arithmetic import (
    ceil_div,
    exact_sum,
    nonzeros,
    pad_to,
)
from dst_jax.cost.accelerators.base import Accelerator, dense_bits
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, memory, read
from dst_jax.cost.storage import formats

__all__ = ["CambriconX"]

PAPER = "Zhang et al., MICRO 2016"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class CambriconX(Accelerator):
    """Filter k runs on element k mod pes, `lanes` of its nonzero weights at a time.

        cycles = images * positions * max over elements of
                 sum over its filters k of ceil(nonzeros of k / lanes)

    Elements do not wait for each other within an operation. Zero activations save
    nothing.

    Attributes:
      lanes: number of multipliers per element.
      pes: number of elements. Static.
    """

    lanes: Number = field(default=16, metadata=memory(PAPER))
    pes: int = field(default=16, metadata=read(f"{PAPER}, abstract", static=True))
    clock: Number = field(default=1e9, metadata=assumed("544 GOP/s at 256 multipliers"))

    @property
    def multipliers(self) -> Number:
        """`lanes` in each element.

        >>> CambriconX().multipliers
        256
        """
        return self.pes * self.lanes

    def storage(self, profile: OpProfile) -> Bits:
        """Weights as a bitmask with values, the other arrays dense.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> CambriconX().storage(profile).weight.item()  # 16 + 10 * 16
        176.0
        """
        weight = formats.bitmask(profile.weight, value_bits=self.value_bits)
        return dense_bits(profile, self.value_bits)._replace(weight=weight.as_float())

    def reduce(self, profile: OpProfile) -> Int[Array, "rounds pes"]:
        """Nonzero weights of every filter; column k mod pes belongs to an element.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> CambriconX(pes=2).reduce(profile).tolist()  # the filters have 4, 3, 2 and 1
        [[4, 3], [2, 1]]
        """
        axes = tuple(range(profile.weight.ndim - 1))
        counts = pad_to(nonzeros(profile.weight, axes), 0, self.pes)
        return counts.reshape(-1, self.pes)

    def sparse_work(self, measured: Measured) -> Work:
        """The busiest element.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = CambriconX(pes=2, lanes=2)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item()  # 2 rows * (2 + 1), in either element
        6.0
        """
        shape = measured.shape
        steps = ceil_div(measured.detail, self.lanes).sum(0).max(keepdims=True)
        return Work(
            cycles=exact_sum(
                steps,
                jnp.array([shape.rows], jnp.int32),
                most=shape.contracted * shape.filters * shape.groups,
                most_y=shape.rows,
            ),
            executed=measured.macs.by_weight,
            gated=jnp.float32(0),
            activation_reads=ceil_div(shape.filters, self.pes),
            weight_reads=shape.images,
            psum_accesses=2 * measured.macs.by_weight / self.lanes,
            # A flag for every weight says which activation it needs.
            metadata_bits=measured.macs.dense,
            crossbar_bits=measured.macs.by_weight * self.value_bits,
        )
