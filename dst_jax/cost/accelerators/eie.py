"""EIE: compressed matrix-vector products, for fully connected layers."""

import dataclasses
from dataclasses import field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from dst_jax.cost.accelerators.arithmetic import exact_sum, pad_to
from dst_jax.cost.accelerators.base import Accelerator, dense_bits
from dst_jax.cost.accelerators.lowering import is_matmul
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import memory, read
from dst_jax.cost.storage import formats

__all__ = ["Eie"]

PAPER = "Han et al., ISCA 2016 (arXiv 1602.01528)"


class Detail(NamedTuple):
    """Cycles with the queues, and the number of entries that all elements read."""

    cycles: Float[Array, ""]
    entries: Float[Array, ""]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Eie(Accelerator):
    """Output i belongs to element i mod pes; nonzero inputs are broadcast in turn.

    Element p reads e[p, j] entries for input j: its nonzero weights, and fillers
    where a run of zeros exceeds 2^run_bits - 1. A queue of `queue` inputs decouples
    the elements:

        end_j[p] = max(end_{j-1}[p], max over p' of end_{j-queue}[p']) + e[p, j]
        cycles   = max over p of end_last[p]

    The rows of a batch run one after another. Convolutions and grouped products run
    as if dense, one product per element and cycle.

    Attributes:
      pes: number of elements. Static.
      queue: number of inputs that can wait at an element. Static.
      run_bits, weight_bits: bits of a run of zeros and of a weight. Static.
    """

    pes: int = field(
        default=64, metadata=read(f"{PAPER} (through cucapra/fodlam)", static=True)
    )
    queue: int = field(default=8, metadata=memory(PAPER, static=True))
    run_bits: int = field(default=4, metadata=memory(PAPER, static=True))
    weight_bits: int = field(
        default=4, metadata=memory(f"{PAPER}: index of a shared weight", static=True)
    )
    clock: Number = field(
        default=800e6, metadata=read(f"{PAPER} (through cucapra/fodlam)")
    )

    @property
    def multipliers(self) -> Number:
        """One in each element.

        >>> Eie().multipliers
        64
        """
        return self.pes

    def storage(self, profile: OpProfile) -> Bits:
        """Interleaved columns of shared weights, dense activations.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> Eie(pes=2).storage(profile).weight.item()  # 10 * (4 + 4) + 9 pointers of 5
        125.0
        """
        dense = dense_bits(profile, self.value_bits)
        if self.refusal(profile):
            return dense
        weight = formats.csc(
            _interleaved(profile.weight, self.pes),
            value_bits=self.weight_bits,
            run_bits=self.run_bits,
        )
        return dense._replace(weight=weight.as_float())

    def refusal(self, profile: OpProfile) -> str | None:
        """A convolution, or a product with batch axes.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, w = jnp.ones((1, 4, 3), bool), jnp.ones((1, 3, 2), bool)
        >>> window = Geometry((1,), ((0, 0),), (1,), (1,))
        >>> profile = OpProfile(x, w, jnp.ones((1, 4, 2), bool), window)
        >>> Eie().refusal(profile)
        'no convolutions'
        """
        if not is_matmul(profile):
            return "no convolutions"
        if profile.geometry.groups > 1:
            return "no grouped products"
        return super().refusal(profile)

    def reduce(self, profile: OpProfile) -> Detail:
        """Both cycle counts of all rows of the batch.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> found = Eie(pes=2).reduce(profile)  # inputs have 1, 2, 3 and 4 weights
        >>> found.cycles.item(), found.entries.item()  # 1 + (1 + 1 + 2 + 2), 1 + 10
        (7.0, 11.0)
        """
        entries = self.entries(profile.weight)
        rows = profile.activation
        ends = jax.vmap(self._end, in_axes=(0, None))(rows, entries)
        reads = rows.sum(0, dtype=jnp.int32)
        return Detail(
            cycles=exact_sum(ends, most=profile.weight.size),
            entries=exact_sum(
                reads, entries.sum(0), most=len(rows), most_y=profile.filters
            ),
        )

    def sparse_work(self, measured: Measured) -> Work:
        """The slowest element.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = Eie(pes=4)  # element 0 has the filter with 4 weights
        >>> design.sparse_work(design.measure(profile)).cycles.item()  # 1 + 4
        5.0
        """
        nonzero = measured.macs.by_activation / max(measured.shape.filters, 1)
        return Work(
            cycles=measured.detail.cycles,
            # Fillers use a slot too.
            executed=measured.detail.entries,
            gated=jnp.float32(0),
            activation_reads=1,
            weight_reads=measured.shape.rows,
            # A nonzero input goes to the queue of every element.
            activation_accesses=2 * self.pes * nonzero,
            metadata_bits=measured.detail.entries * self.run_bits,
        )

    def entries(
        self, weight: Bool[Array, "inputs outputs"]
    ) -> Int[Array, "pes inputs"]:
        """The number of entries each element reads for each input, fillers included.

        >>> weight = jnp.array([[True, False, False, True]])  # one input, four outputs
        >>> Eie(pes=2).entries(weight).tolist()
        [[1], [1]]
        """
        lines = _interleaved(weight, self.pes)
        index = jnp.arange(lines.shape[-1], dtype=jnp.int32)[None, None]
        latest = lax.cummax(jnp.where(lines, index, -1), axis=2)
        before = jnp.pad(latest, ((0, 0), (0, 0), (1, 0)), constant_values=-1)
        gaps = index - 1 - before[..., :-1]
        return jnp.where(lines, 1 + (gaps >> self.run_bits), 0).sum(-1)

    def theoretical_cycles(self, profile: OpProfile) -> Float[Array, ""]:
        """Cycles if entries were spread evenly: number of entries read / elements.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> Eie(pes=2).theoretical_cycles(profile).item()  # 11 entries
        5.5
        """
        return self.reduce(profile).entries / self.pes

    def _end(
        self, row: Bool[Array, " inputs"], entries: Int[Array, "pes inputs"]
    ) -> Int[Array, ""]:
        """The cycle in which the last element finishes one vector."""

        def step(carry: Any, inputs: Any) -> tuple[Any, None]:
            end, queued = carry  # queued: ends of the last `queue` inputs
            nonzero, reads = inputs
            after = jnp.maximum(end, queued[0]) + reads
            shifted = jnp.append(queued[1:], after.max())
            return (
                jnp.where(nonzero, after, end),
                jnp.where(nonzero, shifted, queued),
            ), None

        start = jnp.zeros(self.pes, jnp.int32), jnp.zeros(self.queue, jnp.int32)
        (end, _), _ = lax.scan(step, start, (row, entries.T))
        return end.max()


def _interleaved(
    weight: Bool[Array, "inputs outputs"], pes: int
) -> Bool[Array, "pes inputs lines"]:
    """The outputs of each element, for every input."""
    weight = pad_to(weight, 1, pes)
    return weight.reshape(weight.shape[0], -1, pes).transpose(2, 0, 1)
