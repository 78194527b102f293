"""Channels under gates that are learned: continuous relaxation of their removal.

Every unit of a group, which is one channel or several that can only be removed
together, has one gate. In the paper (arXiv 2308.14605) it stands between BatchNorm and
ReLU, and the last layers of all branches of a residual sum share it. Here no layer is
added: a gate multiplies the input axis of every kernel that reads its channel.

Both are the same network where only ReLU, pooling, sums and concatenation stand between
the last affine operation on a channel and its readers: these functions commute with a
factor g > 0, and a sum of branches that share a gate is multiplied by it once. Readers
are right also where producers and BatchNorm are not: where a channel passes two of them
(depthwise convolutions), where BatchNorm follows a sum and would divide the gate out
again (DenseNet), where branches are multiplied (squeeze and excitation, attention).
Behind any other activation (GELU, ReLU6) the gate acts on the activation's output.
Collected activation maps are those before the gate.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from dst_jax import checks, trees
from dst_jax.parametrisations.base import StateLike, replicated
from dst_jax.parametrisations.gate_members import (
    GateMembers,
    GroupLike,
    check_fits,
    members_of,
    without_collection,
)
from dst_jax.typing import Mask, Params, Schedule, is_traced

__all__ = ["Gated", "fence_sitters", "gated"]


def fence_sitters(gates: Params, *, sigma: ArrayLike = 1.0) -> Float[Array, ""]:
    """How undecided gates are: 1 if all are at `s = 0`, 0 if all are far from it.

        q = exp(-(s / (2 sigma^2))^2),    ||q||_2 / sqrt(n)  over all n gates

    A term of the loss that pushes gates to clearly on or clearly off. Its gradient is 0
    where every `q` underflows.

    Args:
      gates: `s` of every group, `trained["gates"]`, or any other tree of them.
      sigma: how far from 0 a gate is decided, > 0; may be traced.

    Returns:
      A float32 scalar in [0, 1].

    Raises:
      ValueError: there is no gate, or `sigma` is not above 0.

    Reference:
      Larson et al. 2023 (arXiv 2308.14605), from the authors' code.

    >>> fence_sitters({"conv1": jnp.zeros(3), "conv2": jnp.zeros(5)}).item()
    1.0
    """
    _check_positive("sigma", sigma)
    leaves = [jnp.ravel(s).astype(jnp.float32) for s in jax.tree.leaves(gates)]
    if not leaves:
        raise ValueError(f"gates must hold a gate of one group at least, got {gates}")
    s = jnp.concatenate(leaves)
    q = jnp.exp(-jnp.square(s / (2 * sigma**2)))
    return optax.safe_norm(q, 0.0) / np.sqrt(q.size)


@dataclass(frozen=True)
class Gated:
    """A gate on every channel of some groups: what `gated` returns."""

    groups: tuple[GateMembers, ...]
    sharpness: float | Schedule
    prevent_collapse: frozenset[str]

    fence_sitters = staticmethod(fence_sitters)  # the term of the loss that goes along

    def init(self, weights: Params, *, seed: ArrayLike = 0) -> Params:
        """`{"weights": weights, "gates": {group: s}}`, every `s` 1 in float32.

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
            group.name: replicated(jnp.ones(group.size, jnp.float32), weights)
            for group in self.groups
        }
        return {"weights": weights, "gates": gates}

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """The weights, with the kernels that read a channel times its gate."""
        values = self.gates(trained, state)
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

        return trees.map_named(multiply, trained["weights"])

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
        return self(trained, state)

    def finish_mask(self, mask: Mask) -> Mask:
        """The mask of the weights, from that of the trained tree.

        >>> from types import SimpleNamespace
        >>> reads = [("fc", 0, (0, 1))]  # the rows of fc read the 2 channels
        >>> p = gated({"conv": SimpleNamespace(size=2, members=reads, roles=["reads"])})
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
          state: read for its `step` and `scheduled`, where the sharpness follows them.

        >>> from types import SimpleNamespace
        >>> reads = [("fc", 0, (0, 1))]  # the rows of fc read the 2 channels
        >>> groups = {"conv": SimpleNamespace(size=2, members=reads, roles=["reads"])}
        >>> p = gated(groups, prevent_collapse=True)  # the largest gate is 1
        >>> p.gates({"gates": {"conv": jnp.array([0.0, 100.0])}})["conv"].tolist()
        [0.5, 1.0]
        """
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
          threshold: in [0, 1]; the authors raise it from stage to stage, from 0.01 to
            0.25.
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
) -> Gated:
    """A gate on every channel of every group, learned along with the weights.

        g = sigmoid(sharpness s),  with prevent_collapse  g / max g
        the network reads  y_c = g_c x_c  of channel c

    A gate multiplies the members of its group that read the channel; the module says
    why. A group that no parameter reads (queries and keys, multiplied with each other)
    is gated where it is made: scales and shifts, or where nothing scales, the kernels
    that produce it and shifts.

    Args:
      groups: by name, as `channels.groups` returns them; a part of them will do. Paths
        may begin with a collection (`params/conv1/kernel`) that the weights lack, or
        the other way round.
      sharpness: slope of the sigmoid, > 0, or a schedule of `state.step`; a value
        `state.scheduled["sharpness"]`, which may be traced, takes its place.
      prevent_collapse: whether the largest gate of a group is always 1, so that no
        group is ever off; or the names of the groups for which this holds.

    Returns:
      A parametrisation of the trained tree `{"weights": ..., "gates": {group: s}}`,
      with `gates(trained)` and `collapse(trained, threshold=...)`.

    Raises:
      ValueError: an option is out of range, a group is malformed or a name is unknown;
        at `init`, a member is none of the weights, or its axis has another length.

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
        _check_positive("sharpness", sharpness)
        sharpness = float(sharpness)  # of an array, which has no hash
    if isinstance(prevent_collapse, bool):
        kept = frozenset(groups if prevent_collapse else ())
    else:
        kept = frozenset(prevent_collapse)
    for name in sorted(kept):
        checks.one_of("prevent_collapse", name, groups)
    members = tuple(members_of(name, group) for name, group in groups.items())
    return Gated(members, sharpness, kept)


def _check_positive(name: str, value: Any) -> None:
    if not is_traced(value) and not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a finite number > 0, got {value}")
