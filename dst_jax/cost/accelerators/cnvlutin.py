"""Cnvlutin: lanes of DaDianNao that skip zero activations independently."""

import dataclasses
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dst_jax.cost.accelerators.arithmetic import ceil_div, exact_sum, nonzeros, pad_to
from dst_jax.cost.accelerators.base import Accelerator, dense_bits
from dst_jax.cost.accelerators.lowering import tap_views
from dst_jax.cost.accelerators.work import SPARSE, Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, memory

__all__ = ["Cnvlutin"]

PAPER = "Albericio et al., ISCA 2016"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Cnvlutin(Accelerator):
    """Lanes take the bricks of a window in turn; the slowest lane ends the window.

        cycles of a window = max over lanes l of
                             sum over its bricks b with b mod lanes = l of
                             max(1, nonzeros of b)

    for every group of `units * unit_filters` filters. A brick is `brick` channels of
    one input element; an empty one, also in the padding, costs one cycle. With fewer
    channels than a brick (the first layer) it runs as DaDianNao: one brick a cycle.

    Attributes:
      units, unit_filters: numbers of units and of filters per unit, computed at once.
      brick: number of channels of a brick. Static.
      lanes: number of bricks processed at once, and of multipliers per filter. Static.
    """

    units: Number = field(default=16, metadata=memory(PAPER))
    unit_filters: Number = field(default=16, metadata=memory(PAPER))
    brick: int = field(default=16, metadata=memory(PAPER, static=True))
    lanes: int = field(default=16, metadata=memory(PAPER, static=True))
    clock: Number = field(default=1e9, metadata=assumed("a round number"))

    stores_weights = False

    @property
    def multipliers(self) -> Number:
        """One per lane and filter.

        >>> Cnvlutin().multipliers
        4096
        """
        return self.lanes * self.units * self.unit_filters

    def storage(self, profile: OpProfile) -> Bits:
        """Nonzeros of a brick with their offsets, in whole bricks; dense weights.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.ones((4, 4), bool), out, Geometry())
        >>> Cnvlutin().storage(profile).activation.item()  # 8 * (16 + 4)
        160.0
        """
        dense = dense_bits(profile, self.value_bits)
        # ZFNAf keeps the place of every brick, so it saves cycles but no memory.
        offset = (self.brick - 1).bit_length()
        share = (self.value_bits + offset) / self.value_bits
        return dense._replace(
            activation=dense.activation * share, output=dense.output * share
        )

    def refusal(self, profile: OpProfile) -> str | None:
        """Too few channels for a brick.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, w = jnp.ones((1, 4, 3), bool), jnp.ones((1, 3, 2), bool)
        >>> window = Geometry((1,), ((0, 0),), (1,), (1,))
        >>> profile = OpProfile(x, w, jnp.ones((1, 4, 2), bool), window)
        >>> Cnvlutin().refusal(profile)
        'fewer than 16 channels'
        """
        if profile.weight.shape[-2] < self.brick:
            return f"fewer than {self.brick} channels"
        return super().refusal(profile)

    def dense_work(self, measured: Measured) -> Work:
        """DaDianNao: one brick of `brick` channels a cycle.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.ones((4, 4), bool), out, Geometry())
        >>> design = Cnvlutin(brick=2, lanes=2, units=1, unit_filters=2)
        >>> work = design.dense_work(design.measure(profile))
        >>> work.cycles.item()  # 2 rows * 2 bricks * 2 groups of filters
        8.0
        """
        shape = measured.shape
        bricks = shape.taps * ceil_div(shape.channels, self.brick)
        steps = jnp.float32(shape.rows * shape.groups * bricks)
        return self._work(measured, steps, measured.macs.dense)

    def reduce(self, profile: OpProfile) -> Float[Array, ""]:
        """Cycles of all windows for one group of filters.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.ones((4, 4), bool), out, Geometry())
        >>> design = Cnvlutin(brick=2, lanes=2, units=1, unit_filters=2)
        >>> design.reduce(profile).item()  # max(1, 1) + max(2, 2)
        3.0
        """
        lanes = sum(
            self._lane_steps(view, tap, profile.geometry.groups)
            for tap, view in enumerate(tap_views(self._bricks(profile), profile))
        )
        windows = jnp.asarray(lanes).max(-1).reshape(-1)
        bricks = ceil_div(profile.weight.shape[-2], self.brick)
        most = profile.taps * ceil_div(bricks, self.lanes) * self.brick
        return exact_sum(windows, most=most)

    def sparse_work(self, measured: Measured) -> Work:
        """Every window, for every group of filters.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x = jnp.array([[1, 0, 0, 0], [1, 1, 1, 1]], bool)
        >>> out = jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.ones((4, 4), bool), out, Geometry())
        >>> design = Cnvlutin(brick=2, lanes=2, units=1, unit_filters=2)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item()  # 3 for each of 2 groups of filters
        6.0
        """
        return self._work(measured, measured.detail, measured.macs.by_activation)

    def _work(self, measured: Measured, steps: Any, executed: Any) -> Work:
        shape = measured.shape
        passes = ceil_div(shape.filters, self.units * self.unit_filters)
        sparse = measured.mode == SPARSE
        offsets = (self.brick - 1).bit_length() if sparse else 0
        return Work(
            cycles=steps * passes,
            executed=executed,
            gated=jnp.float32(0),
            activation_reads=passes,
            weight_reads=shape.rows,  # from the buffer for every window
            activation_accesses=executed / (self.units * self.unit_filters),
            # The lanes of a filter are added before they reach its partial sum.
            psum_accesses=2 * executed / self.lanes,
            metadata_bits=offsets * executed / (self.units * self.unit_filters),
        )

    def _bricks(self, profile: OpProfile) -> Int[Array, "batch *spatial bricks"]:
        """Nonzeros of every brick, group by group."""
        *lead, _ = profile.activation.shape
        channels = profile.activation.reshape(*lead, profile.geometry.groups, -1)
        channels = pad_to(channels, channels.ndim - 1, self.brick)
        counts = nonzeros(channels.reshape(*channels.shape[:-1], -1, self.brick), -1)
        return counts.reshape(*lead, -1)

    def _lane_steps(
        self, view: Int[Array, "batch *out bricks"], tap: int, groups: int
    ) -> Int[Array, "windows groups lanes"]:
        """Cycles that the bricks of one tap take in every lane."""
        windows = view.size // view.shape[-1]
        steps = jnp.maximum(view.reshape(windows, groups, -1), 1)
        bricks = steps.shape[-1]
        steps = pad_to(steps, 2, self.lanes).reshape(windows, groups, -1, self.lanes)
        return jnp.roll(steps.sum(2), tap * bricks % self.lanes, axis=-1)
