"""Which axes of which weights the gates of a group multiply."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dst_jax import checks, trees
from dst_jax.kernels import COLLECTIONS
from dst_jax.typing import GroupLike, Params

__all__ = [
    "GateMembers",
    "GroupLike",
    "check_fits",
    "gateable",
    "members_of",
    "without_collection",
]

# Of a group that does not say which members gates multiply, the first that it has.
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
      group: the group. Where it does not say which members gates multiply, those that
        read its channels are chosen, or where none does, those that scale and shift
        them, or else produce and shift them.

    Raises:
      ValueError: the group is malformed, has no such member or cannot be gated.

    >>> from types import SimpleNamespace
    >>> group = SimpleNamespace(
    ...     size=2,
    ...     members=[("conv/kernel", 3, [0, 1]), ("fc/kernel", 0, [0, 1])],
    ...     roles=["produces", "reads"],
    ... )
    >>> members_of("conv", group).members
    (('fc/kernel', 0, (0, 1)),)
    """
    checks.group(name, group)
    refused = getattr(group, "ungated", None)
    if refused is not None:
        raise ValueError(f"group {name} cannot be gated: {refused}")
    gates = getattr(group, "gates", ()) or _by_role(name, group)
    members = [
        (path, int(axis), tuple(int(unit) for unit in units))
        for number, (path, axis, units) in enumerate(group.members)
        if number in gates
    ]
    return GateMembers(name, int(group.size), tuple(members))


def gateable(
    groups: Mapping[str, GroupLike],
) -> tuple[dict[str, GroupLike], dict[str, Any]]:
    """The groups that gates can be put on, and of the others why not, by name.

    >>> from types import SimpleNamespace
    >>> group = SimpleNamespace(size=2, members=[], roles=[], ungated="a loop reads it")
    >>> gateable({"conv": group})
    ({}, {'conv': 'a loop reads it'})
    """
    why = {name: getattr(group, "ungated", None) for name, group in groups.items()}
    refused = {name: reason for name, reason in why.items() if reason is not None}
    return {n: group for n, group in groups.items() if n not in refused}, refused


def _by_role(name: str, group: GroupLike) -> list[int]:
    """The numbers of the members that a gate multiplies, as their roles say."""
    chosen = next((roles for roles in _ROLES if roles[0] in group.roles), None)
    if chosen is None:
        raise ValueError(
            f"group {name} must have a member that reads, scales or produces, got"
            f" {sorted(set(group.roles))}"
        )
    return [i for i, role in enumerate(group.roles) if role in chosen]


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
