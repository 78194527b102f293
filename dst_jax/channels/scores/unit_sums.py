"""Sums over the weights of every unit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dst_jax import trees
from dst_jax.channels.groups import Groups
from dst_jax.channels.partition import Group
from dst_jax.kernels import Kernels
from dst_jax.typing import Params

__all__ = [
    "TRAINED",
    "Scores",
    "along",
    "leaves_of",
    "missing",
    "owned",
    "segments",
    "summed",
]

Scores = dict[str, Float[Array, " units"]]

TRAINED = ("produces", "reads", "scales", "shifts")
"""Roles of leaves that are trained: all but the statistics of a normalisation."""


def summed(
    params: Params,
    groups: Groups,
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


def owned(params: Params, groups: Groups) -> dict[str | None, Any]:
    """The leaves by the path that they have in the traced argument.

    >>> groups = Groups({}, shapes={"params/a": (2,)}, fixed={}, aux={})
    >>> owned({"a": 1.0}, groups)
    {'params/a': 1.0}
    """
    paths = Kernels(leaves=tuple(groups.shapes))
    leaves = trees.named_leaves(params)
    return {paths.owner(path): leaf for path, leaf in leaves.items()}


def leaves_of(
    own: Mapping[str | None, Any], group: Group, roles: Sequence[str]
) -> Iterator[tuple[Array, int, np.ndarray]]:
    """The leaves of a group with these roles: array, axis, units.

    >>> group = Group("a", 2, (("a", 0, np.array([0, 1])),), ("produces",))
    >>> ((_, axis, units),) = leaves_of({"a": 1.0}, group, TRAINED)
    >>> axis, units.tolist()
    (0, [0, 1])
    """
    for (path, axis, units), role in zip(group.members, group.roles, strict=True):
        if role in roles and path in own:
            yield jnp.asarray(own[path], jnp.float32), axis, np.asarray(units)


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
