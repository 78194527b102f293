"""Tensor cores with structured weight sparsity: two nonzeros in every four."""

import dataclasses
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.cost.accelerators.base import dense_bits
from dst_jax.cost.accelerators.dense import Dense
from dst_jax.cost.accelerators.provenance import memory, read
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.storage import formats

__all__ = ["TensorCore24"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorCore24(Dense):
    """A dense array that runs twice as fast if the weights are 2:4 along channels.

        cycles = dense cycles / 2   if every group of m channels has <= n nonzeros
                 dense cycles       otherwise

    Zero activations save nothing. The weights are stored 2:4 if they fit.

    Attributes:
      n, m: the pattern. Static.
    """

    n: int = field(
        default=2, metadata=read("NVIDIA Ampere: 2 nonzeros of every 4", static=True)
    )
    m: int = field(
        default=4, metadata=read("NVIDIA Ampere: 2 nonzeros of every 4", static=True)
    )
    clock: Any = field(default=1.41e9, metadata=memory("A100 boost clock"))

    stores_weights = True

    def storage(self, profile: OpProfile) -> Bits:
        """Weights N:M with 2-bit indices where they fit, all else dense."""
        bits = dense_bits(profile, self.value_bits)
        weight = formats.n_m(
            profile.weight, value_bits=self.value_bits, n=self.n, m=self.m, axis=-2
        )
        return bits._replace(weight=weight.as_float())

    def reduce(self, profile: OpProfile) -> Any:
        """Whether the weights have the pattern."""
        return formats.fits_n_m(profile.weight, n=self.n, m=self.m, axis=-2)

    def sparse_work(self, measured: Measured) -> Work:
        """Half the dense work if the weights have the pattern, else all of it."""
        dense = Dense.sparse_work(self, measured)
        share = jnp.where(measured.detail, self.n / self.m, 1.0)
        return dense._replace(
            cycles=jnp.ceil(dense.cycles * share), executed=dense.executed * share
        )

    def fitting_groups(self, profile: OpProfile) -> Float[Array, ""]:
        """The fraction of groups with the pattern: how near the weights are to it."""
        weight = jnp.moveaxis(profile.weight, -2, -1)
        widths = [(0, 0)] * (weight.ndim - 1) + [(0, -weight.shape[-1] % self.m)]
        grouped = jnp.pad(weight, widths).reshape(-1, self.m)
        return jnp.mean(grouped.sum(-1) <= self.n, dtype=jnp.float32)
