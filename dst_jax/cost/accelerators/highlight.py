"""HighLight: weights with structured sparsity in two ranks, gated activations."""

import dataclasses
import itertools
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dst_jax.cost.accelerators.arithmetic import ceil_div, nonzeros, pad_to
from dst_jax.cost.accelerators.base import dense_bits
from dst_jax.cost.accelerators.dense import Dense
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.provenance import memory

__all__ = ["HighLight"]

PAPER = "Wu et al., MICRO 2023 (arXiv 2305.12718)"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class HighLight(Dense):
    """A dense array whose weights may be sparse in a hierarchy of two patterns.

    Channels are cut into blocks of h0, and blocks into groups of h1. A pattern (h0, h1)
    holds if a block has at most `n0` nonzeros and a group at most `n1` blocks that are
    not empty. Of all patterns with n0 <= h0 <= m0 and n1 <= h1 <= m1 that the weights
    have, the one with the fewest slots is taken:

        cycles = dense cycles * n0 n1 ceil(C / (h0 h1)) / C

    so a share of n0/m0 * n1/m1 of the dense cycles at best. Products of zero
    activations take a cycle, but are gated.

    Attributes:
      n0, m0: nonzeros of a block, and its largest size. Static.
      n1, m1: blocks of a group that are not empty, and its largest size. Static.
    """

    n0: int = field(default=2, metadata=memory(f"{PAPER}: 2 of 2 to 4", static=True))
    m0: int = field(default=4, metadata=memory(f"{PAPER}: 2 of 2 to 4", static=True))
    n1: int = field(default=4, metadata=memory(f"{PAPER}: 4 of 4 to 8", static=True))
    m1: int = field(default=8, metadata=memory(f"{PAPER}: 4 of 4 to 8", static=True))
    stores_weights = True

    @property
    def patterns(self) -> tuple[tuple[int, int], ...]:
        """All pairs (h0, h1) that the array can run.

        >>> len(HighLight().patterns), HighLight().patterns[0]
        (15, (2, 4))
        """
        sizes = range(self.n0, self.m0 + 1), range(self.n1, self.m1 + 1)
        return tuple(itertools.product(*sizes))

    def storage(self, profile: OpProfile) -> Bits:
        """Weights as they run, with the places of values and of blocks; others dense.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> weight = (jnp.arange(32) % 8 < 2)[:, None]  # 2 of 4, every second block
        >>> masks = jnp.ones((1, 32), bool), weight, jnp.ones((1, 1), bool)
        >>> HighLight().storage(OpProfile(*masks, Geometry())).weight.item()
        156.0
        """
        bits = dense_bits(profile, self.value_bits)
        *_, channels, filters = profile.weight.shape
        slots = self._slots(channels, self.reduce(profile))
        kept = profile.taps * filters * slots
        coded = kept * (self.value_bits + self._index_bits)
        return bits._replace(weight=jnp.minimum(coded, bits.weight))

    def reduce(self, profile: OpProfile) -> Any:
        """Whether the weights have each of the patterns.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> masks = jnp.ones((1, 32), bool), jnp.ones((32, 1), bool)
        >>> op = OpProfile(*masks, jnp.ones((1, 1), bool), Geometry())
        >>> HighLight(m1=4).reduce(op).tolist()  # (2, 4), (3, 4) and (4, 4)
        [True, False, False]
        """
        *_, channels, filters = profile.weight.shape
        weight = profile.weight.reshape(-1, channels, filters)
        fits = []
        for h0 in range(self.n0, self.m0 + 1):
            blocks = nonzeros(_groups(weight, h0), 2)
            inner, full = (blocks <= self.n0).all(), blocks > 0
            fits += [
                inner & (nonzeros(_groups(full, h1), 2) <= self.n1).all()
                for h1 in range(self.n1, self.m1 + 1)
            ]
        return jnp.stack(fits)

    def sparse_work(self, measured: Measured) -> Work:
        """The slots of the sparsest pattern; products of a zero operand are gated.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> weight = (jnp.arange(32) % 8 < 2)[:, None]
        >>> masks = jnp.ones((1, 32), bool), weight, jnp.ones((1, 1), bool)
        >>> design = HighLight(rows=1, columns=1)
        >>> measured = design.measure(OpProfile(*masks, Geometry()))
        >>> design.sparse_work(measured).cycles.item()  # 2/4 * 4/8 of 32
        8.0
        """
        dense, shape = Dense.sparse_work(self, measured), measured.shape
        slots = self._slots(shape.channels, measured.detail)
        share = slots / max(shape.channels, 1)
        one = Dense.sparse_work(
            self, dataclasses.replace(measured, shape=shape._replace(channels=1))
        )
        products = dense.executed * share
        # Slots that a pattern leaves empty hold zeros.
        executed = jnp.minimum(measured.macs.effectual, products)
        return dense._replace(
            cycles=one.cycles * slots,
            executed=executed,
            gated=products - executed,
            accumulator_accesses=dense.accumulator_accesses * share,
            metadata_bits=jnp.where(share < 1, products * self._index_bits, 0),
        )

    @property
    def _index_bits(self) -> float:
        """Bits of places for each kept value."""
        block = (self.m1 - 1).bit_length() / self.n0
        return (self.m0 - 1).bit_length() + block

    def _slots(self, channels: int, fits: Bool[Array, " pattern"]) -> Float[Array, ""]:
        """Products for each output and tap."""
        kept = self.n0 * self.n1
        slots = [
            min(channels, kept * ceil_div(channels, h0 * h1))
            for h0, h1 in self.patterns
        ]
        return jnp.where(fits, jnp.array(slots, jnp.float32), channels).min()


def _groups(
    x: Bool[Array, "tap n filter"], size: int
) -> Bool[Array, "tap group size filter"]:
    x = pad_to(x, 1, size)
    return x.reshape(x.shape[0], -1, size, x.shape[2])
