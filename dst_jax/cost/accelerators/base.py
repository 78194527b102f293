"""The base class of accelerators: memory, energy, and the two steps of an estimate.

`measure` reduces the masks of an operation to the sums that the design depends on, and
reads no swept number. `work` turns these sums into cycles. So a sweep over
configurations reduces the masks once.
"""

import abc
import dataclasses
import functools
import inspect
from dataclasses import field
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.cost.accelerators.work import (
    SPARSE,
    Bits,
    Macs,
    Measured,
    Work,
    shape_of,
)
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates import energy as energies
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed
from dst_jax.cost.storage import formats

__all__ = ["Accelerator", "dense_bits"]


DDR4 = "one channel of DDR4-3200, 25.6 GB/s, the same for every preset"
SRAM = "no preset states it; infinite = the buffer never binds"
BUFFER = "half a megabyte for either operand, the same for every preset without a size"
TABLE = "energy.create('accelergy45_eyeriss'), the same for every preset"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Accelerator(abc.ABC):
    """An accelerator; `accelerators.create` makes one and checks its numbers.

    It is a frozen dataclass and a pytree. Its numbers are leaves, so that `jax.vmap`
    and `cost.sweep` run over arrays of them; fields marked static set shapes. A
    subclass is a `dataclasses.dataclass(frozen=True, kw_only=True)`; it is registered
    with JAX when it is first made, unless its author did.

    Attributes:
      clock: clock frequency in Hz.
      activation_buffer, weight_buffer: on-chip bytes; the larger operand of the two
        is read from DRAM once if the other fits.
      dram_bandwidth: bandwidth of DRAM in bytes per second.
      sram_bandwidth: bandwidth of the on-chip buffer in bytes per cycle.
      energy: table of energies per action, see `dst_jax.cost.estimates.energy`.
      value_bits: bits of a stored value. Static.
    """

    clock: Number
    activation_buffer: Number = field(default=512 * 1024, metadata=assumed(BUFFER))
    weight_buffer: Number = field(default=512 * 1024, metadata=assumed(BUFFER))
    dram_bandwidth: Number = field(default=25.6e9, metadata=assumed(DDR4))
    sram_bandwidth: Number = field(default=float("inf"), metadata=assumed(SRAM))
    energy: energies.EnergyTable = field(
        default_factory=lambda: energies.create("accelergy45_eyeriss"),
        metadata=assumed(TABLE),
    )
    value_bits: int = field(
        default=16, metadata=assumed("16-bit values throughout", static=True)
    )

    stores_weights: ClassVar[bool] = True
    """Whether weights are prepared ahead of time: data-dependent ones run dense."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Accelerator":
        """A new instance, of a class that JAX knows."""
        del args, kwargs
        _register(cls)
        return super().__new__(cls)

    @property
    @abc.abstractmethod
    def multipliers(self) -> Number:
        """The number of products that can start in one cycle."""

    @abc.abstractmethod
    def reduce(self, profile: OpProfile) -> Any:
        """The sums over the masks that `sparse_work` reads, without swept numbers."""

    @abc.abstractmethod
    def sparse_work(self, measured: Measured) -> Work:
        """The work of an operation that runs sparsely, as the design intends."""

    @abc.abstractmethod
    def storage(self, profile: OpProfile) -> Bits:
        """Bits of both operands and the output in the design's own format."""

    def refusal(self, profile: OpProfile) -> str | None:
        """Why an operation cannot run sparsely, or None if it can.

        >>> from dst_jax.cost.accelerators.cambricon_x import CambriconX
        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry(dynamic=True))
        >>> CambriconX().refusal(profile)  # attention: no weight to compress ahead
        'both operands depend on data'
        """
        if profile.geometry.dynamic and self.stores_weights:
            return "both operands depend on data"
        return None

    def measure(self, profile: OpProfile) -> Measured:
        """The masks reduced to the sums that the design depends on.

        >>> from dst_jax.cost.accelerators.cambricon_x import CambriconX
        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> found = CambriconX().measure(profile)
        >>> found.mode, found.macs.dense.item(), found.macs.effectual.item()
        ('sparse', 32.0, 20.0)
        """
        refusal = self.refusal(profile)
        counts: Any = profile.counts
        return Measured(
            macs=Macs(*(count.as_float() for count in counts)),
            detail=() if refusal else self.reduce(profile),
            shape=shape_of(profile),
            mode=f"dense: {refusal}" if refusal else SPARSE,
        )

    def work(self, measured: Measured) -> Work:
        """The work of one operation, sparse if the design allows it.

        >>> from dst_jax.cost.accelerators.cambricon_x import CambriconX
        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> w, design = jnp.tri(4, dtype=bool), CambriconX(pes=1, lanes=2)
        >>> for dynamic in (False, True):  # 2 rows * (2 + 2 + 1 + 1), 32 / 2
        ...     profile = OpProfile(x, w, out, Geometry(dynamic=dynamic))
        ...     print(design.work(design.measure(profile)).cycles.item())
        12.0
        16.0
        """
        sparse = measured.mode == SPARSE
        work = self.sparse_work(measured) if sparse else self.dense_work(measured)
        if work.slots is None:
            work = work._replace(slots=work.cycles * self.multipliers)
        return work

    def dense_work(self, measured: Measured) -> Work:
        """All products, on all multipliers at once.

        >>> from dst_jax.cost.accelerators.cambricon_x import CambriconX
        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = CambriconX(pes=1, lanes=5)
        >>> design.dense_work(design.measure(profile)).cycles.item()  # ceil(32 / 5)
        7.0
        """
        cycles = jnp.ceil(jnp.float32(measured.shape.macs) / self.multipliers)
        return Work(cycles, measured.macs.dense, jnp.float32(0), 1, 1)

    def cycles(self, profile: OpProfile) -> Float[Array, "..."]:
        """Cycles of the multipliers on one operation, as if memory were free.

        They are exact to 2^24, then rounded to float32.

        >>> from dst_jax.cost.accelerators.cambricon_x import CambriconX
        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> CambriconX(pes=2, lanes=2).cycles(profile).item()  # 2 rows * (2 + 1)
        6.0
        """
        return _cycles(self, profile)


@functools.cache
def _register(cls: type[Accelerator]) -> None:
    """Makes a class a pytree; one that is registered already stays as it is."""
    if "__dataclass_fields__" not in vars(cls) and inspect.get_annotations(cls):
        raise TypeError(
            f"{cls.__name__} has fields of its own, so it must be decorated with "
            "@dataclasses.dataclass(frozen=True, kw_only=True)"
        )
    try:
        jax.tree_util.register_dataclass(cls)
    except ValueError as error:
        if "Duplicate" not in str(error):
            raise


@jax.jit
def _cycles(accelerator: Accelerator, profile: OpProfile) -> Float[Array, "..."]:
    return accelerator.work(accelerator.measure(profile)).cycles


def dense_bits(profile: OpProfile, value_bits: int) -> Bits:
    """The bits of dense arrays: every element, zeros included.

    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> ones = jnp.ones((2, 2), bool)
    >>> dense_bits(OpProfile(ones, ones, ones, Geometry()), 16).weight.item()
    64.0
    """
    masks = profile.activation, profile.weight, profile.output
    return Bits(*(formats.dense(m, value_bits=value_bits).as_float() for m in masks))
