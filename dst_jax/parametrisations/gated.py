"""Channels under gates that are learned: continuous relaxation of their removal.

Every unit of a group has one gate. In the paper (arXiv 2308.14605) it stands between
BatchNorm and ReLU. Here no layer is added: a gate multiplies the last affine map on
every path from where a channel is made to where it is read: BatchNorm's scale and bias,
or kernel and bias. A gate before a normalisation would be divided out again: a group
that has no other place cannot be gated. `channels.groups` finds the places in a
network's trace, as `Group.gates`, or says why there are none, as `Group.ungated`.

Where a group says nothing of this, gates multiply the kernels that read its channels.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from dst_jax import checks, trees
from dst_jax.parametrisations.base import StateLike, replicated
from dst_jax.parametrisations.fence_sitters import fence_sitters
from dst_jax.parametrisations.gate_members import (
    GateMembers,
    GroupLike,
    check_fits,
    members_of,
    without_collection,
)
from dst_jax.typing import Mask, Params, Schedule

__all__ = ["Gated", "RandomGate", "gated"]

RandomGate = Callable[..., Array]
"""`(s, u) -> g` of parameters and uniform numbers, such as hard concrete gates."""


@dataclass(frozen=True)
class Gated:
    """A gate on every channel of some groups: what `gated` returns."""

    groups: tuple[GateMembers, ...]
    sharpness: float | Schedule
    prevent_collapse: frozenset[str]
    random: RandomGate | None = None
    start: float = 1.0
    seed: int = 0

    fence_sitters = staticmethod(fence_sitters)  # a term of the loss

    def init(self, weights: Params, *, seed: ArrayLike = 0) -> Params:
        """`{"weights": weights, "gates": {group: s}}`, every `s` the first, in float32.

        >>> from types import SimpleNamespace
        >>> reads = [("fc", 0, (0, 1))]  # the rows of fc read the 2 channels
        >>> p = gated({"conv": SimpleNamespace(size=2, members=reads, roles=["reads"])})
        >>> trained = p.init({"fc": jnp.ones((2, 3))})
        >>> trained["weights"]["fc"].shape, trained["gates"]["conv"].tolist()
        ((2, 3), [1.0, 1.0])
        """
        del seed
        check_fits(self.groups, weights)
        gates = {
            group.name: replicated(
                jnp.full(group.size, self.start, jnp.float32), weights
            )
            for group in self.groups
        }
        return {"weights": weights, "gates": gates}

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """The weights, times the gates; random ones are drawn for `state.step`."""
        return self.multiplied(trained["weights"], self._drawn(trained, state))

    def multiplied(
        self, weights: Params, values: Mapping[str, Float[Array, " channels"]]
    ) -> Params:
        """Weights with the members of every group times given gates.

        Args:
          weights: a network's weights.
          values: the gate of every channel, by group; those of `gates`, or their
            inverses, which undo `finish`.

        >>> made = GateMembers("conv", 2, (("conv", 1, (0, 1)),))  # its columns
        >>> p = Gated((made,), 5.0, frozenset())
        >>> values = {"conv": jnp.array([0.5, 0.0])}
        >>> p.multiplied({"conv": jnp.ones((1, 2))}, values)["conv"].tolist()
        [[0.5, 0.0]]
        """
        factors: dict[str, list[tuple[int, Array]]] = {}
        for group in self.groups:
            padded = jnp.append(values[group.name], 1)  # where the unit -1 points
            for path, axis, units in group.members:
                factor = padded[np.array(units)]
                factors.setdefault(without_collection(path), []).append((axis, factor))

        def multiply(name: str, weight: Any) -> Any:
            own = factors.get(without_collection(name))
            if own is None:
                return weight
            product = weight
            for axis, factor in own:
                shape = [1] * weight.ndim
                shape[axis] = factor.size
                product = product * factor.reshape(shape)
            return product.astype(weight.dtype)

        return trees.map_named(multiply, weights)

    def finish(self, trained: Params, state: StateLike) -> Params:
        """The weights with the gates multiplied into them, for good.

        >>> from types import SimpleNamespace
        >>> reads = [("fc", 0, (0, 1))]  # the rows of fc read the 2 channels
        >>> p = gated({"conv": SimpleNamespace(size=2, members=reads, roles=["reads"])})
        >>> trained = {"gates": {"conv": jnp.zeros(2)}}
        >>> trained["weights"] = {"fc": jnp.full((2, 1), 4.0)}
        >>> p.finish(trained, ())["fc"].tolist()  # sigmoid(0) * 4
        [[2.0], [2.0]]
        """
        return self.multiplied(trained["weights"], self.gates(trained, state))

    def finish_mask(self, mask: Mask) -> Mask:
        """The mask of the weights, from that of the trained tree.

        >>> p = Gated((), 5.0, frozenset())
        >>> p.finish_mask({"weights": {"fc": "mask of fc"}, "gates": None})
        {'fc': 'mask of fc'}
        """
        return mask["weights"]

    def gates(
        self, trained: Params, state: StateLike = ()
    ) -> dict[str, Float[Array, " channels"]]:
        """The gates of every group, in [0, 1]: what a relaxed cost is a function of.

        Args:
          trained: from `init`, after any number of steps.
          state: read for its `step` and `scheduled`, where the sharpness follows them;
            of random gates, the medians are returned.

        >>> from types import SimpleNamespace
        >>> reads = [("fc", 0, (0, 1))]  # the rows of fc read the 2 channels
        >>> groups = {"conv": SimpleNamespace(size=2, members=reads, roles=["reads"])}
        >>> p = gated(groups, prevent_collapse=True)  # the largest gate is 1
        >>> p.gates({"gates": {"conv": jnp.array([0.0, 100.0])}})["conv"].tolist()
        [0.5, 1.0]
        """
        if self.random is not None:
            return self._random(trained, dict.fromkeys(trained["gates"], 0.5))
        sharpness = self._sharpness(state)
        values = {}
        for group in self.groups:
            # In logarithms, so that g / max g is defined where all underflow.
            value = jax.nn.log_sigmoid(sharpness * trained["gates"][group.name])
            if group.name in self.prevent_collapse:
                value = value - value.max()
            values[group.name] = jnp.exp(value)
        return values

    def collapse(
        self, trained: Params, *, threshold: ArrayLike, state: StateLike = ()
    ) -> dict[str, Bool[Array, " channels"]]:
        """Which channels are kept: those whose gate is above a threshold.

        Args:
          trained: from `init`, after any number of steps.
          threshold: in [0, 1]; the authors raise it from 0.01 to 0.25.
          state: as in `gates`.

        Returns:
          A bool array for every group, as `channels.remove` takes it. All of a group
          can be false unless `prevent_collapse` says otherwise.

        >>> from types import SimpleNamespace
        >>> reads = [("fc", 0, (0, 1))]  # the rows of fc read the 2 channels
        >>> p = gated({"conv": SimpleNamespace(size=2, members=reads, roles=["reads"])})
        >>> trained = {"gates": {"conv": jnp.array([-1.0, 0.0])}}  # sigmoid(-5) = 0.007
        >>> p.collapse(trained, threshold=0.01)["conv"].tolist()
        [False, True]
        """
        checks.share("threshold", threshold)
        return {name: g > threshold for name, g in self.gates(trained, state).items()}

    def _drawn(
        self, trained: Params, state: StateLike
    ) -> dict[str, Float[Array, " channels"]]:
        """The gates of a training step."""
        step: Any = getattr(state, "step", ())
        if self.random is None or isinstance(step, tuple):
            return self.gates(trained, state)
        key = jax.random.fold_in(jax.random.key(self.seed), step)
        draws = {
            group.name: jax.random.uniform(own, (group.size,), minval=1e-6, maxval=1)
            for group, own in zip(
                self.groups, jax.random.split(key, len(self.groups)), strict=True
            )
        }
        return self._random(trained, draws)

    def _random(
        self, trained: Params, draws: Mapping[str, Array | float]
    ) -> dict[str, Float[Array, " channels"]]:
        """The random gates for uniform numbers."""
        assert self.random is not None
        values = {}
        for group in self.groups:
            s = trained["gates"][group.name]
            value = self.random(s, draws[group.name])
            if group.name in self.prevent_collapse:
                value = jnp.where(jnp.arange(s.size) == s.argmax(), 1, value)
            values[group.name] = value
        return values

    def _sharpness(self, state: StateLike) -> ArrayLike:
        scheduled: Any = getattr(state, "scheduled", ())
        if "sharpness" in scheduled:
            return scheduled["sharpness"]
        if callable(self.sharpness):
            return self.sharpness(state.step)
        return self.sharpness


def gated(
    groups: Mapping[str, GroupLike],
    *,
    sharpness: float | Schedule = 5.0,
    prevent_collapse: bool | Collection[str] = False,
    random: RandomGate | None = None,
    start: float = 1.0,
    seed: int = 0,
) -> Gated:
    """A gate on every channel of every group, learned along with the weights.

        g = sigmoid(sharpness s),  with prevent_collapse  g / max g

    A gate multiplies those members of its group that `Group.gates` names. Of a group
    that does not say, the members that read the channel; where none does, scales and
    shifts, or where nothing scales, the kernels that produce it and shifts.

    Args:
      groups: by name, as `channels.groups` returns them; a part of them will do. Paths
        may begin with a collection (`params/conv1/kernel`) that the weights lack, or
        the other way round.
      sharpness: slope of the sigmoid, > 0, or a schedule of `state.step`; a value
        `state.scheduled["sharpness"]`, which may be traced, takes its place.
      prevent_collapse: whether the largest gate of a group is always 1, so that no
        group is ever off; or the names of the groups for which this holds.
      random: a gate that is drawn at every step, in place of the sigmoid:
        `(s, u) -> g` with uniform `u`, such as hard concrete gates; its median, `u` of
        0.5, is used where there is no `state.step`, and by `finish`.
      start: `s` of every channel at first.
      seed: seed of the draws.

    Returns:
      A parametrisation of the trained tree `{"weights": ..., "gates": {group: s}}`,
      with `gates(trained)` and `collapse(trained, threshold=...)`.

    Raises:
      ValueError: an option is out of range, a name is unknown, a group is malformed or
        cannot be gated; at `init`, a member is none of the weights, or has another
        length.

    Reference:
      Larson et al. 2023 (continuous relaxation in structured pruning, arXiv
      2308.14605); details from the authors' code.

    >>> from types import SimpleNamespace
    >>> reads = SimpleNamespace(size=2, members=[("fc/kernel", 0, (0, 1))],
    ...                         roles=["reads"])
    >>> p = gated({"conv": reads})
    >>> trained = p.init({"fc": {"kernel": jnp.ones((2, 3))}})
    >>> trained["gates"]["conv"].tolist()
    [1.0, 1.0]
    >>> trained["gates"]["conv"] = jnp.array([1.0, -1.0])
    >>> [round(float(w), 5) for w in p(trained, ())["fc"]["kernel"][:, 0]]
    [0.99331, 0.00669]
    >>> p.collapse(trained, threshold=0.01)["conv"].tolist()
    [True, False]
    """
    if not groups:
        raise ValueError("groups must hold one group at least")
    if not callable(sharpness):
        checks.positive("sharpness", sharpness)
        sharpness = float(sharpness)  # of an array, which has no hash
    if isinstance(prevent_collapse, bool):
        kept = frozenset(groups if prevent_collapse else ())
    else:
        kept = frozenset(prevent_collapse)
    for name in sorted(kept):
        checks.one_of("prevent_collapse", name, groups)
    members = tuple(members_of(name, group) for name, group in groups.items())
    checks.at_least("start", start, -math.inf)
    return Gated(members, sharpness, kept, random, float(start), seed)
