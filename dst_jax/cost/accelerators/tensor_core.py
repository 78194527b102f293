"""Tensor cores with structured sparsity of one operand: two nonzeros in every four."""

import dataclasses
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dst_jax.cost.accelerators.base import dense_bits
from dst_jax.cost.accelerators.dense import Dense
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.provenance import assumed, memory, read
from dst_jax.cost.storage import formats
from dst_jax.cost.storage.layouts import groups

__all__ = ["TensorCore24"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorCore24(Dense):
    """A dense array that runs twice as fast if one operand is 2:4 along channels.

        cycles = dense cycles * n ceil(C / m) / C   if all m channels have <= n nonzeros
                 dense cycles                       otherwise

    with C channels of one group: half the dense cycles where 4 divides them. The last
    m channels are padded, and padding takes slots too, so that n channels or fewer save
    nothing. The sparse operand is the weights, or the activations (`keep_n_of_m`) where
    the weights do not have the pattern: both together save no more than one of them.
    Other zeros save nothing. An operand with the pattern is stored packed.

    Activations have the pattern if those of all measured examples do. Maps with few
    nonzeros may have it by chance, without a rule that holds for other examples too:
    measure enough of them, or leave activations out.

    Attributes:
      n, m: the pattern. Static.
      either_side: Whether activations may be the sparse operand, too. Static.
    """

    n: int = field(
        default=2, metadata=read("NVIDIA Ampere: 2 nonzeros of every 4", static=True)
    )
    m: int = field(
        default=4, metadata=read("NVIDIA Ampere: 2 nonzeros of every 4", static=True)
    )
    either_side: bool = field(
        default=True,
        metadata=assumed("a transposed product swaps the operands", static=True),
    )
    clock: Any = field(default=1.41e9, metadata=memory("A100 boost clock"))

    stores_weights = True

    def storage(self, profile: OpProfile) -> Bits:
        """Operands with the pattern N:M with 2-bit indices, all else dense.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> TensorCore24().storage(profile).weight.item()  # 4 filters * 2 * (16 + 2)
        144.0
        """
        bits = dense_bits(profile, self.value_bits)
        if self._saves_nothing(profile.weight.shape[-2]):
            return bits
        options = {"value_bits": self.value_bits, "n": self.n, "m": self.m}
        weight = formats.n_m(profile.weight, **options, axis=-2).as_float()
        bits = bits._replace(weight=weight)
        if not self.either_side:
            return bits
        packed = formats.n_m(_by_group(profile), **options, axis=-1).as_float()
        return bits._replace(activation=packed)

    def reduce(self, profile: OpProfile) -> Any:
        """Whether the weights have the pattern, and whether the activations have it.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.eye(2, 4, dtype=bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> found = TensorCore24().reduce(profile)  # filters have 4, 3, 2 and 1 of 4
        >>> [bool(fits) for fits in found]
        [False, True]
        """
        weights = formats.fits_n_m(profile.weight, n=self.n, m=self.m, axis=-2)
        if not self.either_side:
            return weights, jnp.bool_(False)
        return weights, formats.fits_n_m(_by_group(profile), n=self.n, m=self.m)

    def sparse_work(self, measured: Measured) -> Work:
        """The slots of all groups of channels if one operand has the pattern.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.eye(4, dtype=bool), out, Geometry())
        >>> design = TensorCore24(rows=2, columns=2)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item(), work.executed.item()  # half of 8, half of 32
        (4.0, 16.0)
        """
        dense = Dense.sparse_work(self, measured)
        channels = measured.shape.channels
        if self._saves_nothing(channels):
            return dense
        slots = measured.shape._replace(channels=self._slots(channels))
        sparse = Dense.sparse_work(self, dataclasses.replace(measured, shape=slots))
        of_weights, of_activations = measured.detail
        fits, share = of_weights | of_activations, slots.channels / channels
        index_bits = (self.m - 1).bit_length()
        share = jnp.where(fits, share, 1.0)
        executed = dense.executed * share
        return dense._replace(
            cycles=jnp.where(fits, sparse.cycles, dense.cycles),
            executed=executed,
            accumulator_accesses=dense.accumulator_accesses * share,
            # The index of a kept value picks the one that it meets.
            metadata_bits=jnp.where(fits, executed * index_bits, 0),
        )

    def fitting_groups(self, profile: OpProfile) -> Float[Array, ""]:
        """The fraction of groups with the pattern: how near the weights are to it.

        Groups that save nothing, of at most n channels, do not count; 0 if there are no
        others.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> weight = jnp.zeros((8, 2), bool).at[:3, 0].set(True)
        >>> masks = jnp.ones((1, 8), bool), weight, jnp.ones((1, 2), bool)
        >>> float(TensorCore24().fitting_groups(OpProfile(*masks, Geometry())))
        0.75
        """
        channels = profile.weight.shape[-2]
        whole = channels - channels % self.m
        if channels % self.m > self.n:
            whole = channels
        grouped = groups(profile.weight[..., :whole, :], self.m, -2)
        return (grouped.sum(-1) <= self.n).sum() / jnp.float32(max(1, len(grouped)))

    def _slots(self, channels: int) -> int:
        """Products for each output and tap if one operand has the pattern."""
        return self.n * -(-channels // self.m)

    def _saves_nothing(self, channels: int) -> bool:
        return self._slots(channels) >= channels


def _by_group(profile: OpProfile) -> Bool[Array, "*shape groups channels"]:
    """The mask of activations, with the channels of each group of filters apart."""
    *outer, channels = profile.activation.shape
    groups = profile.geometry.groups
    return profile.activation.reshape(*outer, groups, channels // groups)
