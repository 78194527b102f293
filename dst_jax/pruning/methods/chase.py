"""Chase: dynamic sparse training that removes channels for good."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from dst_jax import checks, trees
from dst_jax.kernels.unit_sums import mean_magnitudes
from dst_jax.pruning import flops, schedules, scores, updates
from dst_jax.pruning.channel_removal import (
    ChannelRemoval,
    GroupScore,
    UnitsLeft,
    positions,
)
from dst_jax.pruning.description import method
from dst_jax.pruning.integer_shares import budget, in_proportion
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.selection import JOINT, ahead, top_k
from dst_jax.typing import GroupLike, Mask, Params, concrete

__all__ = ["chase"]

_DROPPED = (0.5, 0.005)
"""Fractions that the final phase drops, at step 0 and at the end, from the code."""


@method(
    lengths={
        "channel_interval": 0.0125,
        "channel_end": 0.8,
        "interval": 0.0125,
        "explore_end": 0.8,
        "end": 1.0,
    },
    ends=["channel_end", "explore_end", "end"],
    texts={"channel_sparsity": "0.4", "floor": "0.2"},  # the authors' for ImageNet
    dense_gradients=flops.at_updates,
)
def chase(
    *,
    sparsity: Any,
    groups: Mapping[str, GroupLike],
    channel_sparsity: Any,
    floor: Any,
    channel_interval: Any,
    channel_end: Any,
    interval: Any,
    explore_end: Any,
    end: Any,
    slack: Any = 0.05,
    final_slack: Any = 0.0,
    scope: str = "global",
    score: GroupScore | None = None,
) -> Method:
    """Chase: explores weights of all layers together and removes channels for good.

        channels:  s_c (1 - (1 - t / channel_end)^3) of all units are removed
        weights:   prune to d N, then grow to (d + delta(t)) N, by gradient
                   delta(t) = cosine from `slack` to `final_slack` at `explore_end`

    with `d = 1 - sparsity` of the `N` prunable weights of the network at first: the
    weights of removed channels grow again in those that stay. From `explore_end` on an
    update drops a fraction `r` of the smallest weights, which falls along a cosine from
    0.5 to 0.005 at `end`, and grows to `d N` exactly.

    Channels go between the updates of weights, half an interval before them: those of
    lowest score of all groups together, except that a group of `C` units keeps
    `floor(C (1 - s_c) floor)`, at least 1. Of equal scores random ones go. Where both
    fall on one step, the channels come first.

    What the authors' code leaves open: the numbers of units and of dropped weights are
    rounded down, and the last channel step removes what is left to `s_c`. There always
    is an update of weights at `explore_end`, from which on the budget holds. The first
    mask has the exact number of weights, where the code draws every weight.

    Args:
      sparsity: sparsity of the prunable weights of the whole network, in [0, 1).
      groups: groups of channels that may lose units, from `channels.groups`, such as
        `channels.inner` of them; the kernels that read them have to be prunable.
      channel_sparsity: share `s_c` of the units of all groups that is removed.
      floor: factor of the floor of a group, in [0, 1], the published beta.
      channel_interval: steps between removals of channels.
      channel_end: first step without removals.
      interval: steps between updates of weights.
      explore_end: first step of the final phase.
      end: first step without updates, the length of the training.
      slack: density in excess of the budget at first, at most `sparsity`.
      final_slack: that at `explore_end`.
      scope: "global" compares the weights of all layers; "layer" gives each layer its
        Erdos-Renyi-Kernel share, of the shapes without removed channels.
      score: score of units, one of `channels.scores` or another function; None is the
        unmasked mean magnitude, `channels.scores.umm`.

    Raises:
      ValueError: an option is out of range, or no removal of channels comes before
        `channel_end`; at the first update, groups do not fit the parameters.

    Reference:
      Yin et al. 2023 (Chase, arXiv 2305.19454), and their code (luuyin/chase).

    >>> import optax
    >>> from dst_jax import channels
    >>> w = {"fc1": jnp.ones((4, 8)), "fc2": jnp.ones((8, 3))}
    >>> net = lambda w, x: x @ w["fc1"] @ w["fc2"]
    >>> groups = channels.groups(net)(w, jnp.ones((1, 4)))
    >>> tx = chase(
    ...     optax.sgd(0.1), sparsity=0.9, groups=groups, channel_sparsity=0.5,
    ...     floor=0.5, channel_interval=1000, channel_end=65_000, interval=1000,
    ...     explore_end=65_000, end=80_000)
    """
    checks.at_least("end", end, explore_end)
    checks.at_least("end", end, channel_end)
    removal = ChannelRemoval(
        groups,
        share=channel_sparsity,
        floor=floor,
        interval=channel_interval,
        end=channel_end,
        before=interval // 2,
        score=mean_magnitudes if score is None else score,
    )
    exploration = _Exploration(
        sparsity, slack, final_slack, interval, explore_end, end, scope
    )

    def first(params: Params, key: Array) -> Mask:
        return updates.random_mask(params, key, sparsity, "erk")

    def refresh(step: Step) -> tuple[Mask, UnitsLeft]:
        keep = jax.lax.cond(
            removal.due(step.step), lambda: removal(step), lambda: step.memory.keep
        )
        network = step.network()
        allowed = step.layout.apart(positions(groups, keep, network))
        allowed = trees.only(step.mask, allowed)
        mask = jax.tree.map(jnp.logical_and, step.mask, allowed)
        mask = jax.lax.cond(
            exploration.due(step.step),
            lambda: exploration(step._replace(mask=mask), allowed),
            lambda: mask,
        )
        return mask, UnitsLeft(keep)

    return Method(
        first,
        refresh,
        lambda step: removal.due(step) | exploration.due(step),
        memory=lambda params, mask: UnitsLeft(removal.whole()),
    )


@dataclass(frozen=True)
class _Exploration:
    """The updates of weights, under a soft memory bound and after it."""

    sparsity: Any
    slack: Any
    final_slack: Any
    interval: Any
    explore_end: Any
    end: Any
    scope: str

    def __post_init__(self) -> None:
        checks.fraction("sparsity", self.sparsity)
        checks.at_least("interval", self.interval, 1)
        checks.at_least("explore_end", self.explore_end, 0)
        checks.one_of("scope", self.scope, ("layer", "global"))
        for name in ("slack", "final_slack"):
            checks.share(name, getattr(self, name))
            left = concrete(self.sparsity) - concrete(getattr(self, name))
            checks.share(f"sparsity - {name}", left)

    def due(self, step: Any) -> Bool[Array, ""]:
        """Whether there is an update; always where the final phase begins."""
        regular = schedules.every(self.interval, end=self.end)(step)
        return regular | (step == self.explore_end)

    def __call__(self, step: Step, allowed: Mask) -> Mask:
        """The new mask, of positions that are allowed."""
        final = step.step >= self.explore_end
        fraction = schedules.cosine(*_DROPPED, end=self.end)(step.step)
        total = trees.count(step.mask)
        lower = jnp.asarray(budget(total, self.sparsity), jnp.int32)
        upper = jnp.where(final, lower, self._upper(total, lower, step.step))
        names = [JOINT] if self.scope == "global" else trees.named_leaves(allowed)
        kept, grown = (
            {JOINT: n} if self.scope == "global" else _shares(allowed, n)
            for n in (lower, upper)
        )
        before = updates.active(step.mask, names)
        dropped = {
            k: jnp.where(final, updates.floor(fraction, n), 0)
            for k, n in before.items()
        }
        kept = {k: jnp.minimum(before[k] - dropped[k], kept[k]) for k in names}
        size = scores.magnitude(step.params)
        steep = scores.gradient(step.params, grads=step.grads)
        left = top_k(size, kept, among=step.mask)
        return top_k(ahead(left, steep), grown, among=allowed)

    def _upper(self, total: int, lower: Array, step: Array) -> Array:
        """Weights under the soft bound; exactly the budget where it is 0."""
        bound = schedules.cosine(self.slack, self.final_slack, end=self.explore_end)
        slack = jnp.asarray(bound(step))
        sparsity = jnp.asarray(self.sparsity, jnp.float32) - slack
        return jnp.where(slack > 0, jnp.maximum(budget(total, sparsity), lower), lower)


def _shares(allowed: Mask, kept: Array) -> dict[str, Array]:
    """Erdos-Renyi-Kernel numbers of layers whose shapes are what is allowed of them.

    >>> full = {"a": jnp.ones((2, 2), bool), "b": jnp.ones((4, 4), bool)}
    >>> {k: int(n) for k, n in _shares(full, jnp.array(9)).items()}
    {'a': 3, 'b': 6}
    """
    layers = trees.named_leaves(allowed)
    sizes = jnp.stack([m.sum(dtype=jnp.int32) for m in layers.values()])
    lengths = jnp.stack([_lengths(m) for m in layers.values()])
    kept = jnp.minimum(kept, sizes.sum())
    return dict(zip(layers, in_proportion(sizes, lengths, kept), strict=True))


def _lengths(allowed: Bool[Array, "*shape"]) -> Array:
    """The sum of the lengths of the axes of what is allowed.

    >>> int(_lengths(jnp.array([[True, False, True]] * 4)))
    6
    """
    axes = range(allowed.ndim)
    each = [allowed.any(axis=tuple(i for i in axes if i != axis)) for axis in axes]
    return jnp.stack([x.sum(dtype=jnp.int32) for x in each]).sum()
