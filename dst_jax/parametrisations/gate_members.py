"""Which axes of which weights the gates of a group multiply."""

from collections.abc import Iterable
from dataclasses import dataclass

from dst_jax import checks, trees
from dst_jax.kernels import COLLECTIONS
from dst_jax.typing import GroupLike, Params

__all__ = ["GateMembers", "GroupLike", "check_fits", "members_of", "without_collection"]

# The roles that gates multiply: the first of these that a group has.
_ROLES = (("reads",), ("scales", "shifts"), ("produces", "shifts"))


@dataclass(frozen=True)
class GateMembers:
    """The axes that the gates of one group multiply, in a form that has a hash."""

    name: str
    size: int
    members: tuple[tuple[str, int, tuple[int, ...]], ...]


def members_of(name: str, group: GroupLike) -> GateMembers:
    """The members of a group that its gates multiply.

    Args:
      name: name of the group.
      group: the group; those of its members that read its channels are chosen, or where
        none does, those that scale and shift them, or else produce and shift them.

    Raises:
      ValueError: the group is malformed or has no such member.

    >>> from types import SimpleNamespace
    >>> group = SimpleNamespace(
    ...     size=2,
    ...     members=[("conv/kernel", 3, [0, 1]), ("fc/kernel", 0, [0, 1])],
    ...     roles=["produces", "reads"],
    ... )
    >>> members_of("conv", group).members
    (('fc/kernel', 0, (0, 1)),)
    """
    if len(group.members) != len(group.roles):
        raise ValueError(
            f"group {name} must have one role per member, got {len(group.members)}"
            f" members and {len(group.roles)} roles"
        )
    chosen = next((roles for roles in _ROLES if roles[0] in group.roles), None)
    if chosen is None:
        raise ValueError(
            f"group {name} must have a member that reads, scales or produces, got"
            f" {sorted(set(group.roles))}"
        )
    members = []
    for (path, axis, units), role in zip(group.members, group.roles, strict=True):
        units = tuple(int(unit) for unit in units)
        if not all(-1 <= unit < group.size for unit in units):
            raise ValueError(
                f"group {name} must have units in -1..{group.size - 1}, got"
                f" {sorted(set(units))} at {path}"
            )
        if role in chosen:
            members.append((path, int(axis), units))
    return GateMembers(name, int(group.size), tuple(members))


def check_fits(groups: Iterable[GateMembers], weights: Params) -> None:
    """Refuses groups of another network, naming the first member that does not fit.

    >>> check_fits([GateMembers("conv", 2, ())], {})
    """
    leaves = trees.named_leaves(weights)
    shapes = {without_collection(name): leaf.shape for name, leaf in leaves.items()}
    for group in groups:
        for path, axis, units in group.members:
            name = without_collection(path)
            checks.one_of(f"a member of group {group.name}", name, shapes)
            shape = shapes[name]
            if not 0 <= axis < len(shape) or shape[axis] != len(units):
                raise ValueError(
                    f"group {group.name} has {len(units)} positions on axis {axis} of"
                    f" {path}, whose shape is {shape}"
                )


def without_collection(path: str) -> str:
    """A path without the collection that it may begin with.

    >>> without_collection("params/conv1/kernel"), without_collection("conv1/kernel")
    ('conv1/kernel', 'conv1/kernel')
    """
    first, _, rest = path.partition("/")
    return rest if rest and first in COLLECTIONS else path
