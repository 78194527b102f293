"""SparTen: inner products of bitmask chunks, with filters paired by density."""

import dataclasses
import statistics
from dataclasses import field
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Shaped

from dst_jax.cost.accelerators.arithmetic import (
    ceil_div,
    exact_dot,
    exact_sum,
    nonzeros,
    pad_to,
)
from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.lowering import tap_views, weight_by_channel
from dst_jax.cost.accelerators.work import Bits, Measured, Work, shape_of
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates.energy import Number
from dst_jax.cost.provenance import assumed, memory
from dst_jax.cost.storage import formats

__all__ = ["Sparten", "expected_max"]

PAPER = "Gondimalla et al., MICRO 2019"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sparten(Accelerator):
    """The units of a cluster multiply one chunk of an input vector by their filters.

        cycles of a cluster = sum over outputs and chunks of
                              max over units u of sum over its filters k of
                              popcount(a & w_k)

    A unit holds two filters: the densest that remains, and the sparsest (greedy
    balancing in software, GB-S). Outputs are spread evenly over the clusters. With
    `exact` the popcounts are computed, which costs a dense convolution. Otherwise the
    maximum is that of normal variables with each unit's exact mean, and a variance as
    if channels were independent (see `expected_max`).

    Attributes:
      clusters: number of clusters, which divide the outputs.
      units: number of units per cluster. Static.
      chunk: number of elements of a bitmask that are intersected at a time. Static.
      exact: Whether to compute every popcount. Static.
      pointer_bits: bits of the pointer of each chunk. Static.
    """

    clusters: Number = field(default=32, metadata=memory("1024 multipliers, as SCNN"))
    units: int = field(default=32, metadata=memory(PAPER, static=True))
    chunk: int = field(default=128, metadata=memory(PAPER, static=True))
    exact: bool = field(
        default=False, metadata=assumed("cheap by default", static=True)
    )
    pointer_bits: int = field(
        default=32, metadata=assumed("a pointer per chunk", static=True)
    )
    clock: Number = field(default=1e9, metadata=assumed("a round number"))

    @property
    def multipliers(self) -> Number:
        """One in each unit.

        >>> Sparten().multipliers
        1024
        """
        return self.clusters * self.units

    def storage(self, profile: OpProfile) -> Bits:
        """A bitmask, values and a pointer per chunk.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> Sparten().storage(profile).weight.item()  # 16 + 10 * 16 + a pointer
        208.0
        """

        def coded(mask: Any) -> Any:
            pointers = ceil_div(mask.size, self.chunk) * self.pointer_bits
            bits = formats.bitmask(mask, value_bits=self.value_bits) + pointers
            return bits.as_float()

        return Bits(*map(coded, (profile.activation, profile.weight, profile.output)))

    def reduce(self, profile: OpProfile) -> Float[Array, ""]:
        """Cycles if there were one cluster.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> Sparten(units=2, exact=True).reduce(profile).item()  # 2 * max(4 + 1, 3 + 2)
        10.0
        """
        weight = self._sorted_chunks(profile)
        if self.exact:
            return self._exact(profile, weight)
        return self._expected(profile, weight)

    def sparse_work(self, measured: Measured) -> Work:
        """The outputs of all clusters.

        >>> from dst_jax.cost.counting.op_profile import Geometry
        >>> x, out = jnp.ones((2, 4), bool), jnp.ones((2, 4), bool)
        >>> profile = OpProfile(x, jnp.tri(4, dtype=bool), out, Geometry())
        >>> design = Sparten(clusters=2, units=2, exact=True)
        >>> work = design.sparse_work(design.measure(profile))
        >>> work.cycles.item(), work.executed.item()  # 10 / 2, 2 * 10
        (5.0, 20.0)
        """
        shape = measured.shape
        chunks = ceil_div(shape.contracted, self.chunk)
        return Work(
            cycles=jnp.ceil(measured.detail / self.clusters),
            executed=measured.macs.effectual,
            gated=jnp.float32(0),
            activation_reads=ceil_div(shape.filters, 2 * self.units),
            weight_reads=ceil_div(shape.rows, self.clusters),
            # The masks of both chunks are intersected for every output.
            metadata_bits=2 * jnp.float32(shape.outputs * chunks * self.chunk),
        )

    def _sorted_chunks(
        self, profile: OpProfile
    ) -> Bool[Array, "group chunk element filter"]:
        """The filters of each group, densest first."""
        weight = _vectors(weight_by_channel(profile), profile)
        order = jnp.argsort(-nonzeros(weight, 1), axis=-1, stable=True)
        return self._chunks(jnp.take_along_axis(weight, order[:, None], axis=2))

    def _chunks(
        self, vectors: Shaped[Array, "group contracted n"]
    ) -> Shaped[Array, "group chunk element n"]:
        vectors = pad_to(vectors, 1, self.chunk)
        groups, _, n = vectors.shape
        return vectors.reshape(groups, -1, self.chunk, n)

    def _expected(
        self, profile: OpProfile, weight: Bool[Array, "group chunk element filter"]
    ) -> Float[Array, ""]:
        shape = shape_of(profile)
        reads = jnp.stack(
            [
                nonzeros(view.reshape(shape.rows, profile.channels), 0)
                for view in tap_views(profile.activation, profile)
            ]
        )
        density = reads.astype(jnp.float32)[..., None] / max(shape.rows, 1)
        p = self._chunks(_vectors(density, profile))
        w = weight.astype(jnp.float32)
        mean, variance = (_paired((q.mT @ w)[..., 0, :]) for q in (p, p * (1 - p)))
        most = _paired(w.sum(-2))
        slowest = [
            expected_max(mean[..., u], variance[..., u], most[..., u]).sum()
            for u in self._clusters_of_units(mean.shape[-1])
        ]
        return shape.rows * jnp.stack(slowest).sum()

    def _exact(
        self, profile: OpProfile, weight: Bool[Array, "group chunk element filter"]
    ) -> Float[Array, ""]:
        def image(masks: Any) -> Float[Array, ""]:
            one = dataclasses.replace(
                profile, activation=masks[0][None], output=masks[1][None]
            )
            views = [
                view.reshape(-1, profile.channels)
                for view in tap_views(one.activation, one)
            ]
            reads = self._chunks(_vectors(jnp.stack(views).mT, profile))
            counts = _paired(exact_dot(reads.mT, weight, most=self.chunk))
            slowest = [
                counts[..., u].max(-1).astype(jnp.int32).reshape(-1)
                for u in self._clusters_of_units(counts.shape[-1])
            ]
            return exact_sum(jnp.concatenate(slowest), most=2 * self.chunk)

        return lax.map(image, (profile.activation, profile.output)).sum()

    def _clusters_of_units(self, pairs: int) -> list[slice]:
        """The pairs that run at the same time."""
        return [slice(i, i + self.units) for i in range(0, pairs, self.units)]


def expected_max(
    mean: Float[Array, "*batch n"],
    variance: Float[Array, "*batch n"],
    most: Float[Array, "*batch n"],
) -> Float[Array, "*batch"]:
    """The approximate mean of the largest of n counts with given means and variances.

        average + c_n * sqrt(average variance + variance of the means)

    with c_n the expected maximum of n standard normals (Blom's formula; 2.07 for 32,
    for which the asymptotic sqrt(2 ln n) gives 2.63). The result is at least the
    largest mean and at most the largest possible count.

    >>> one = jnp.ones(1)
    >>> expected_max(3 * one, one, 9 * one).item()
    3.0
    """
    n = mean.shape[-1]
    c = statistics.NormalDist().inv_cdf((n - 0.375) / (n + 0.25))
    spread = jnp.sqrt(variance.mean(-1) + mean.var(-1))
    return jnp.clip(mean.mean(-1) + c * spread, mean.max(-1), most.max(-1))


def _vectors(
    x: Shaped[Array, "tap c n"], profile: OpProfile
) -> Shaped[Array, "group contracted n"]:
    """The elements that one output contracts over, in the order (tap, channel)."""
    taps, _, n = x.shape
    groups = profile.geometry.groups
    x = x.reshape(taps, groups, -1, n).swapaxes(0, 1)
    return x.reshape(groups, -1, n)


def _paired(x: Shaped[Array, "*lead filter"]) -> Shaped[Array, "*lead pair"]:
    """Filters sorted by density: the first and the last share a unit, and so on."""
    x = pad_to(x, x.ndim - 1, 2)
    half = x.shape[-1] // 2
    return x[..., :half] + jnp.flip(x, -1)[..., :half]
