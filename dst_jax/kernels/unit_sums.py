"""Sums over the weights of every unit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dst_jax import trees
from dst_jax.kernels.kernel import Kernels
from dst_jax.typing import GroupLike, Params

__all__ = [
    "TRAINED",
    "Scores",
    "along",
    "leaves_of",
    "mean_magnitudes",
    "missing",
    "owned",
    "paths_of",
    "segments",
    "summed",
]

Scores = dict[str, Float[Array, " units"]]
"""By group, the importance of each of its units."""

TRAINED = ("produces", "reads", "scales", "shifts")
"""Roles of leaves that are trained: all but the statistics of a normalisation."""


def summed(
    params: Params,
    groups: Mapping[str, GroupLike],
    of: Callable[[Array], Array],
    roles: Sequence[str],
) -> Scores:
    """Sums by unit of a function of every weight, one segment sum a leaf.

    Raises:
      ValueError: no leaf of a group with one of these roles is in `params`.

    >>> from dst_jax import channels
    >>> w = {"a": jnp.array([[1.0, -2.0]]), "b": jnp.ones((2, 1))}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> summed(w, found, jnp.abs, ["produces"])["a"].tolist()
    [1.0, 2.0]
    """
    own, found = owned(params, groups), {}
    for name, group in groups.items():
        leaves = leaves_of(own, group, roles)
        parts = [
            segments(along(of(x), axis), units, group.size) for x, axis, units in leaves
        ]
        found[name] = sum(parts[1:], parts[0]) if parts else missing(name, *roles)
    return found


def owned(params: Params, groups: Mapping[str, GroupLike]) -> dict[str | None, Any]:
    """The leaves by the path that they have in the traced argument.

    >>> from types import SimpleNamespace
    >>> members = [("params/a", 0, [0, 1])]
    >>> group = SimpleNamespace(size=2, members=members, roles=["reads"])
    >>> owned({"a": 1.0}, {"a": group})
    {'params/a': 1.0}
    """
    paths = paths_of(groups)
    leaves = trees.named_leaves(params)
    return {paths.owner(path): leaf for path, leaf in leaves.items()}


def leaves_of(
    own: Mapping[str | None, Any], group: GroupLike, roles: Sequence[str]
) -> Iterator[tuple[Array, int, np.ndarray]]:
    """The leaves of a group with these roles: array, axis, units.

    >>> from types import SimpleNamespace
    >>> group = SimpleNamespace(size=2, members=[("a", 0, [0, 1])], roles=["produces"])
    >>> ((_, axis, units),) = leaves_of({"a": 1.0}, group, TRAINED)
    >>> axis, units.tolist()
    (0, [0, 1])
    """
    for (path, axis, units), role in zip(group.members, group.roles, strict=True):
        if role in roles and path in own:
            yield jnp.asarray(own[path], jnp.float32), axis, np.asarray(units)


def paths_of(groups: Mapping[str, GroupLike]) -> Kernels:
    """The paths of the leaves of the traced argument, which find those of other trees.

    Args:
      groups: groups by name; where they do not say the `shapes` of all leaves, as
        `channels.groups` does, the leaves are their members.

    >>> from types import SimpleNamespace
    >>> members = [("params/a", 0, [0, 1])]
    >>> group = SimpleNamespace(size=2, members=members, roles=["reads"])
    >>> paths_of({"a": group}).owner("0/trace/a")
    'params/a'
    """
    members = [path for group in groups.values() for path, _, _ in group.members]
    return Kernels(leaves=tuple(getattr(groups, "shapes", dict.fromkeys(members))))


def mean_magnitudes(params: Params, groups: Mapping[str, GroupLike]) -> Scores:
    """Mean magnitudes of the weights that produce each unit, pruned ones counted as 0.

    Args:
      params: pytree of arrays.
      groups: groups by name.

    Raises:
      ValueError: no kernel of a group that produces its units is in `params`.

    Reference:
      Yin et al. 2023 (Chase, arXiv 2305.19454), see `channels.scores.umm`.

    >>> from types import SimpleNamespace
    >>> group = SimpleNamespace(size=2, members=[("a", 1, [0, 1])], roles=["produces"])
    >>> w = {"a": jnp.array([[1.0, 0.0], [3.0, 1.0]])}
    >>> mean_magnitudes(w, {"a": group})["a"].tolist()
    [2.0, 0.5]
    """
    own, found = owned(params, groups), {}
    for name, group in groups.items():
        means = []
        for x, axis, units in leaves_of(own, group, ("produces",)):
            if x.ndim > 1:
                entries = jnp.full(x.shape[axis], x.size // x.shape[axis])
                sums = segments(along(jnp.abs(x), axis), units, group.size)
                means.append(sums / segments(entries, units, group.size))
        found[name] = sum(means) / len(means) if means else missing(name, "produces")
    return found


def along(x: Array, axis: int) -> Array:
    """The sums over all other axes.

    >>> along(jnp.array([[1.0, 2.0], [3.0, 4.0]]), 1).tolist()
    [4.0, 6.0]
    """
    return x.sum(axis=tuple(i for i in range(x.ndim) if i != axis))


def segments(values: Array, units: np.ndarray, size: int) -> Array:
    """The sums by unit; positions of other groups are left out.

    >>> segments(jnp.array([1.0, 2.0, 4.0]), np.array([0, -1, 0]), 1).tolist()
    [5.0]
    """
    inside = units >= 0
    return jax.ops.segment_sum(values[inside], units[inside], size)


def missing(name: str, *roles: str) -> NoReturn:
    """Refuses a group without a leaf of these roles.

    >>> missing("conv1", "scales")
    Traceback (most recent call last):
    ValueError: group 'conv1' must have a leaf in params that scales it
    """
    raise ValueError(
        f"group {name!r} must have a leaf in params that {' or '.join(roles)} it"
    )
