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

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from dst_jax import checks, trees
from dst_jax.parametrisations.base import StateLike, replicated
from dst_jax.typing import Mask, Params, Schedule, is_traced

__all__ = ["Gate", "Gated", "Group", "fence_sitters", "gated"]

_COLLECTIONS = ("params", "batch_stats", "weights")
# What a gate multiplies: the first of these that a group has.
_ROLES = (("reads",), ("scales", "shifts"), ("produces", "shifts"))


@runtime_checkable
class Group(Protocol):
    """Channels that are removed together, as `channels.groups` finds them."""

    size: int
    members: Sequence[Any]
    """`(path, axis, units)`: `units[i]` in 0..size-1, -1 for another group's."""
    roles: Sequence[str]
    """One per member: produces, scales, shifts, statistic, reads."""


@dataclass(frozen=True)
class Gate:
    """The gates of one group and the axes that they multiply."""

    name: str
    size: int
    members: tuple[tuple[str, int, tuple[int, ...]], ...]


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
    """See `gated`."""

    groups: tuple[Gate, ...]
    sharpness: float | Schedule
    prevent_collapse: frozenset[str]

    fence_sitters = staticmethod(fence_sitters)

    def init(self, weights: Params, *, seed: ArrayLike = 0) -> Params:
        """`{"weights": weights, "gates": {group: s}}`, every `s` 1 in float32."""
        del seed
        self._check_fits(weights)
        gates = {
            gate.name: replicated(jnp.ones(gate.size, jnp.float32), weights)
            for gate in self.groups
        }
        return {"weights": weights, "gates": gates}

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """The weights, with the kernels that read a channel times its gate."""
        values = self.gates(trained, state)
        factors: dict[str, list[tuple[int, Array]]] = {}
        for gate in self.groups:
            # The unit -1 finds the 1 at the end.
            padded = jnp.append(values[gate.name], 1)
            for path, axis, units in gate.members:
                factor = padded[np.array(units)]
                factors.setdefault(_bare(path), []).append((axis, factor))

        def multiply(name: str, weight: Any) -> Array:
            product = weight
            for axis, factor in factors.get(_bare(name), ()):
                shape = [1] * weight.ndim
                shape[axis] = factor.size
                product = product * factor.reshape(shape)
            return product.astype(weight.dtype)

        return trees.map_named(multiply, trained["weights"])

    def finish(self, trained: Params, state: StateLike) -> Params:
        """The weights with the gates multiplied into them, for good."""
        return self(trained, state)

    def finish_mask(self, mask: Mask) -> Mask:
        """The mask of the weights, from that of the trained tree."""
        return mask["weights"]

    def gates(
        self, trained: Params, state: StateLike = ()
    ) -> dict[str, Float[Array, " channels"]]:
        """The gates of every group, in [0, 1]: what a relaxed cost is a function of.

        Args:
          trained: from `init`, after any number of steps.
          state: read for its `step` and `scheduled`, where the sharpness follows them.
        """
        sharpness = self._sharpness(state)
        values = {}
        for gate in self.groups:
            # In logarithms, so that g / max g is defined where all underflow.
            value = jax.nn.log_sigmoid(sharpness * trained["gates"][gate.name])
            if gate.name in self.prevent_collapse:
                value = value - value.max()
            values[gate.name] = jnp.exp(value)
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

    def _check_fits(self, weights: Params) -> None:
        shapes = {_bare(k): x.shape for k, x in trees.named_leaves(weights).items()}
        for gate in self.groups:
            for path, axis, units in gate.members:
                shape = shapes.get(_bare(path))
                if shape is None:
                    raise ValueError(
                        f"group {gate.name} gates {path}, which is none of the weights:"
                        f" {', '.join(shapes)}"
                    )
                if not 0 <= axis < len(shape) or shape[axis] != len(units):
                    raise ValueError(
                        f"group {gate.name} gates {len(units)} positions of axis {axis}"
                        f" of {path}, whose shape is {shape}"
                    )


def gated(
    groups: Mapping[str, Group],
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
        checks.one_of("prevent_collapse", name, tuple(groups))
    gates = tuple(_gate(name, group) for name, group in groups.items())
    return Gated(gates, sharpness, kept)


def _gate(name: str, group: Group) -> Gate:
    """The axes of a group that its gates multiply, in a form that can be hashed."""
    if len(group.members) != len(group.roles):
        raise ValueError(
            f"group {name} must have one role per member, got {len(group.members)}"
            f" members and {len(group.roles)} roles"
        )
    chosen = next((r for r in _ROLES if r[0] in group.roles), None)
    if chosen is None:
        raise ValueError(
            f"group {name} has no member that reads, scales or produces, only"
            f" {sorted(set(group.roles))}"
        )
    members = []
    for (path, axis, units), role in zip(group.members, group.roles, strict=True):
        units = tuple(int(unit) for unit in units)
        if not all(-1 <= unit < group.size for unit in units):
            raise ValueError(
                f"group {name} has {group.size} units, or -1 for another group's, got"
                f" {sorted(set(units))} at {path}"
            )
        if role in chosen:
            members.append((path, int(axis), units))
    return Gate(name, int(group.size), tuple(members))


def _check_positive(name: str, value: Any) -> None:
    if not is_traced(value) and not 0 < value < float("inf"):
        raise ValueError(f"{name} must be a finite number > 0, got {value}")


def _bare(path: str) -> str:
    """A path without the collection that it begins with."""
    first, _, rest = path.partition("/")
    return rest if rest and first in _COLLECTIONS else path
