"""Channels that are removed for good: when, how many, which, and what they leave."""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool

from dst_jax import checks, trees
from dst_jax.kernels.unit_sums import paths_of
from dst_jax.pruning import schedules
from dst_jax.pruning.protocol import Step
from dst_jax.pruning.updates import floor
from dst_jax.typing import GroupLike, Mask, Params, concrete, is_traced

__all__ = [
    "ChannelRemoval",
    "GroupScore",
    "UnitsLeft",
    "kept_units",
    "lowest_removed",
    "positions",
]

GroupScore = Callable[[Params, Mapping[str, GroupLike]], Mapping[str, Array]]
"""`(params, groups) -> {group: float[size]}`, as in `channels.scores`."""
UnitMasks = Mapping[str, Bool[Array, " units"] | Bool[np.ndarray, " units"]]
"""By group, for every unit whether it is kept."""


class UnitsLeft(NamedTuple):
    """The memory of a method that removes units of channels."""

    keep: UnitMasks
    """By group, for every unit whether it is kept."""


def kept_units(opt_state: optax.OptState) -> UnitMasks:
    """The units that a method has not removed, as `channels.remove` takes them.

    Args:
      opt_state: state of any chain with a method that removes channels, such as Chase.

    Raises:
      ValueError: no method in it removes channels.

    >>> kept_units((UnitsLeft({"conv1": jnp.array([True, False])}),))
    {'conv1': Array([ True, False], dtype=bool)}
    """
    found = trees.instances(opt_state, UnitsLeft)
    if not found:
        raise ValueError("opt_state must hold a method that removes channels, found 0")
    return {name: kept for memory in found for name, kept in memory.keep.items()}


@dataclass(frozen=True)
class ChannelRemoval:
    """Removes units of lowest score of all groups together, step by step.

    Of the `N` units of all groups, `share (1 - (1 - t / end)^3) N` are removed at step
    `t`, rounded down, and `share N` at the last removal.

    Attributes:
      groups: groups of channels that may lose units.
      share: share of all units that is removed in the end, in [0, 1).
      floor: a group of `C` units keeps `floor(C (1 - share) floor)`, at least 1.
      interval: steps between removals.
      end: first step without removals.
      before: steps by which a removal comes before a multiple of the interval.
      score: score of the units.

    Raises:
      ValueError: an option is out of range, a group is malformed, or there is nothing
        to remove or no step at which it would be.

    Reference:
      Yin et al. 2023 (Chase, arXiv 2305.19454), and their code (luuyin/chase).
    """

    groups: Mapping[str, GroupLike]
    _: KW_ONLY
    share: Any
    floor: Any
    interval: Any
    end: Any
    before: Any
    score: GroupScore

    def __post_init__(self) -> None:
        checks.fraction("channel_sparsity", self.share)
        checks.share("floor", self.floor)
        checks.at_least("channel_interval", self.interval, 1)
        checks.at_least("channel_end", self.end, 0)
        if not isinstance(self.groups, Mapping):
            raise ValueError(f"groups must map names to groups, got {self.groups!r}")
        for name, group in self.groups.items():
            checks.group(name, group)
        if is_traced(self.share) or concrete(self.share) == 0:
            return
        if not self.groups:
            raise ValueError(
                f"groups must hold what channel_sparsity={self.share} is of, got none"
            )
        lengths = (self.interval, self.before, self.end)
        if any(map(is_traced, lengths)):
            return
        interval, before, end = map(concrete, lengths)
        first = -before % interval or interval
        if first >= end:
            raise ValueError(
                f"channel_end must be above the first removal of channels, at {first},"
                f" got {self.end}"
            )

    def whole(self) -> UnitMasks:
        """All units.

        >>> from types import SimpleNamespace
        >>> group = SimpleNamespace(size=2, members=[], roles=[])
        >>> ChannelRemoval(
        ...     {"a": group}, share=0.5, floor=0.5, interval=4, end=9, before=1,
        ...     score=lambda params, groups: {}).whole()
        {'a': Array([ True,  True], dtype=bool)}
        """
        return {k: jnp.ones(group.size, bool) for k, group in self.groups.items()}

    def due(self, step: jax.typing.ArrayLike) -> Bool[Array, ""]:
        """Whether units are removed after this step.

        >>> from types import SimpleNamespace
        >>> group = SimpleNamespace(size=2, members=[], roles=[])
        >>> removal = ChannelRemoval(
        ...     {"a": group}, share=0.5, floor=0.5, interval=4, end=9, before=1,
        ...     score=lambda params, groups: {})
        >>> [t for t in range(1, 12) if removal.due(t)]
        [3, 7]
        """
        step = jnp.asarray(step)
        return ((step + self.before) % self.interval == 0) & (step < self.end)

    def __call__(self, step: Step) -> UnitMasks:
        """What is kept after a step; its memory holds what was."""
        keep: UnitMasks = step.memory.keep
        sizes = {name: kept.size for name, kept in keep.items()}
        total = sum(sizes.values())
        kept = sum(k.sum(dtype=jnp.int32) for k in keep.values())
        share = schedules.cubic(0.0, self.share, end=self.end)(step.step)
        last = step.step + self.interval >= self.end
        share = jnp.where(last, jnp.asarray(self.share, jnp.float32), share)
        least = (1 - jnp.asarray(self.share, jnp.float32)) * self.floor
        network = step.network()
        _members(self.groups, network)
        found = self.score(network, self.groups)
        return lowest_removed(
            found,
            keep,
            floor(share, total) - (total - kept),
            floors={k: jnp.maximum(floor(least, n), 1) for k, n in sizes.items()},
            key=step.key,
        )


def positions(groups: Mapping[str, GroupLike], keep: UnitMasks, params: Params) -> Mask:
    """Bool arrays shaped like the parameters: which positions are of kept units.

    Args:
      groups: groups by name.
      keep: units that are kept, of every group.
      params: pytree of arrays; `None` leaves stay `None`.

    Raises:
      ValueError: the groups are those of another network.

    >>> from types import SimpleNamespace
    >>> group = SimpleNamespace(size=2, members=[("a", 1, [0, 1])], roles=["produces"])
    >>> keep = {"a": jnp.array([True, False])}
    >>> positions({"a": group}, keep, {"a": jnp.ones((2, 2))})["a"].tolist()
    [[True, False], [True, False]]
    """
    members = _members(groups, params)

    def of(path: str, leaf: Any) -> Array:
        allowed = jnp.ones((1,) * jnp.ndim(leaf), bool)
        for name, axis, units in members[path]:
            kept = (units < 0) | keep[name][np.maximum(units, 0)]
            allowed &= jnp.expand_dims(kept, [i for i in range(leaf.ndim) if i != axis])
        return jnp.broadcast_to(allowed, jnp.shape(leaf))

    return trees.map_named(of, params)


def lowest_removed(
    scores: Mapping[str, jax.typing.ArrayLike],
    keep: UnitMasks,
    number: jax.typing.ArrayLike,
    *,
    floors: Mapping[str, jax.typing.ArrayLike],
    key: Array,
) -> UnitMasks:
    """What is kept without the units of lowest score of all groups together.

    A group at its floor loses no more, and the next units of the others go in their
    place. Which of equal scores go is drawn at random.

    Args:
      scores: scores of the units, by group.
      keep: units that are kept so far.
      number: number of units that are removed; may be traced.
      floors: numbers of units that each group keeps at least.
      key: random key.

    >>> scores = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array([4.0, 5.0])}
    >>> keep = {"a": jnp.ones(3, bool), "b": jnp.ones(2, bool)}
    >>> left = lowest_removed(
    ...     scores, keep, 3, floors={"a": 2, "b": 0}, key=jax.random.key(0))
    >>> left["a"].tolist(), left["b"].tolist()
    ([False, True, True], [False, False])
    """
    sizes = np.array([kept.size for kept in keep.values()])
    ends = np.cumsum(sizes)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    value = jnp.concatenate([jnp.asarray(scores[k], jnp.float32) for k in keep])
    kept = jnp.concatenate([*keep.values()])
    spare = jnp.concatenate(
        [
            jnp.broadcast_to(kept.sum() - floors[k], kept.shape)
            for k, kept in keep.items()
        ]
    )
    drawn = jax.random.uniform(key, value.shape)
    in_group = _places((owner, ~kept, value, drawn)) - (ends - sizes)[owner]
    may_go = kept & (in_group < spare)
    left = kept & ~(may_go & (_places((~may_go, value, drawn)) < number))
    return dict(zip(keep, jnp.split(left, ends[:-1]), strict=True))


def _places(keys: tuple[Any, ...]) -> Array:
    """The place of every element in the order of these keys, the first the main one.

    >>> _places((jnp.array([1, 0, 1]), jnp.array([3, 2, 1]))).tolist()
    [2, 0, 1]
    """
    return jnp.argsort(jnp.lexsort(tuple(map(jnp.asarray, reversed(keys)))))


def _members(
    groups: Mapping[str, GroupLike], params: Params
) -> dict[str, list[tuple[str, int, np.ndarray]]]:
    """By path of a parameter `(group, axis, units)` of the groups that it belongs to.

    >>> from types import SimpleNamespace
    >>> group = SimpleNamespace(size=1, members=[("a", 0, [0])], roles=["reads"])
    >>> _members({"a": group}, {"b": jnp.ones(1)})
    Traceback (most recent call last):
    ValueError: group a must have a leaf among the parameters, one of ('a',), got ('b',)
    """
    leaves, paths = trees.named_leaves(params), paths_of(groups)
    owners = {path: paths.owner(path) for path in leaves}
    found: dict[str, list[tuple[str, int, np.ndarray]]] = {path: [] for path in leaves}
    for name, group in groups.items():
        seen = False
        for own, axis, units in group.members:
            for path in (k for k, owner in owners.items() if owner == own):
                shape, seen = jnp.shape(leaves[path]), True
                if not axis < len(shape) or shape[axis] != len(units):
                    raise ValueError(
                        f"group {name} has {len(units)} positions on axis {axis} of"
                        f" {path}, whose shape is {shape}"
                    )
                found[path].append((name, axis, np.asarray(units)))
        if not seen:
            raise ValueError(
                f"group {name} must have a leaf among the parameters, one of"
                f" {tuple(path for path, _, _ in group.members)}, got {tuple(leaves)}"
            )
    return found
