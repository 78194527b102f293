"""Units put into groups by the axes of the leaves along which they occur."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dst_jax.channels.axis_units import FREE, AxisUnits, Ints
from dst_jax.channels.branches import LONE
from dst_jax.channels.choices import Components
from dst_jax.channels.reasons import Reason
from dst_jax.channels.relations import Relations
from dst_jax.kernels.kernel import COLLECTIONS

__all__ = ["Group", "LeafAxis", "Partition", "is_statistic"]

LeafAxis = tuple[str, int]
"""Path and number of an axis of a leaf."""

TIED = Reason("input", "", "it is tied to an input or a constant")
UNREAD = Reason("unread", "", "nothing reads these positions")


@dataclass(frozen=True, eq=False)
class Group:
    """Units that occur along the same axes of the same leaves.

    Attributes:
      name: path of the module that produces the units first.
      size: number of units.
      members: `(path, axis, units)`: the unit of every position of an axis of a leaf,
        in 0..size-1, or -1 where the position is of another group.
      roles: by member, "produces", "reads", "scales", "shifts" or "statistic".
      inexact: why the removal of units changes values elsewhere; empty if it does not.
      needed: why at least one unit must stay; None if the group is all that a branch
        consists of, which may vanish next to what it is added to.
      gates: numbers of the members that gates of the units multiply, see
        `channels.gates`.
      ungated: why there are none.
    """

    name: str
    size: int
    members: tuple[tuple[str, int, Ints], ...]
    roles: tuple[str, ...]
    inexact: tuple[Reason, ...] = ()
    needed: Reason | None = LONE
    gates: tuple[int, ...] = ()
    ungated: Reason | None = None

    @property
    def exact(self) -> bool:
        """Whether removing units equals setting them to 0 wherever they occur.

        >>> Group("conv1", 8, (), ()).exact
        True
        """
        return not self.inexact


@dataclass(frozen=True)
class Partition:
    """The groups, and of every component its group and its number there.

    Attributes:
      groups: the groups by name, in the order in which they are produced.
      axes: units of the axes of leaves.
      relations: what is known of units.
      components: those of the relations.
      place: by component, `(name of the group, unit)`.
    """

    groups: Mapping[str, Group]
    axes: Mapping[LeafAxis, Ints]
    relations: Relations
    components: Components
    place: Mapping[int, tuple[str, int]]

    @classmethod
    def of(
        cls, axes: Mapping[LeafAxis, Ints], relations: Relations, components: Components
    ) -> "Partition":
        """Groups all components that can be removed and are read.

        >>> relations = Relations()
        >>> axes = {("a", 1): relations.fresh(2), ("b", 0): relations.fresh(2)}
        >>> relations.unite(*axes.values())
        >>> relations.use(axes["b", 0])
        >>> list(Partition.of(axes, relations, relations.components()).groups)
        ['a']
        """
        touched: dict[int, list[LeafAxis]] = defaultdict(list)
        for axis, units in axes.items():
            found = np.unique(components.of(units))
            for component in found[(found > 0) & components.used[found]].tolist():
                touched[component].append(axis)
        together: dict[tuple[LeafAxis, ...], list[int]] = defaultdict(list)
        for component, where in touched.items():
            together[tuple(where)].append(component)
        roles = _Roles.of(axes, relations, components)
        producers = sorted(
            (min(roles.order(component) for component in found), where)
            for where, found in together.items()
        )
        groups: dict[str, Group] = {}
        place: dict[int, tuple[str, int]] = {}
        for (_, unit), where in producers:
            found = sorted(together[where], key=roles.order)
            name = _unused(_module(_owner(axes, unit)), groups)
            place |= {component: (name, i) for i, component in enumerate(found)}
            number = np.full(len(components.used), -1)
            number[found] = np.arange(len(found))
            groups[name] = Group(
                name,
                len(found),
                tuple(
                    (*axis, _numbered(components.of(axes[axis]), number))
                    for axis in where
                ),
                tuple(roles.of_axis(axis) for axis in where),
                _why_inexact(relations, components, number),
            )
        return cls(groups, axes, relations, components, place)

    def labels(
        self, units: AxisUnits
    ) -> tuple[tuple[tuple[str | None, int], ...], ...]:
        """For every axis of a value, the group and the unit of every position."""
        nowhere = (None, -1)
        found: dict[int, tuple[tuple[str | None, int], ...]] = {}
        for block in units.blocks:
            if len(block.axes) == 1:
                numbers = self.components.of(block.units).tolist()
                found[block.axes[0]] = tuple(
                    self.place.get(n, nowhere) for n in numbers
                )
            else:
                sizes = zip(block.axes, block.units.shape, strict=True)
                found |= {axis: (nowhere,) * size for axis, size in sizes}
        return tuple(found[axis] for axis in range(len(found)))

    def reasons(self) -> dict[LeafAxis, tuple[Reason, ...]]:
        """By axis that has positions that cannot be removed, why."""
        linked = self.relations.linked()
        causes: dict[int, list[Reason]] = defaultdict(list)
        for reason, units in self.relations.fixed.items():
            for component in set(linked[np.concatenate(units)].tolist()):
                causes[component].append(reason)
        order = {reason: i for i, reason in enumerate(self.relations.fixed)}
        found: dict[LeafAxis, tuple[Reason, ...]] = {}
        for axis, units in self.axes.items():
            components = self.components.of(units)
            fixed = set(linked[units[components == 0]].tolist())
            found_causes = {r for n in fixed for r in causes.get(n, ())}
            why = sorted(found_causes, key=order.__getitem__)
            if fixed and not why:
                why = [TIED]
            live = components[components > 0]
            if not self.components.used[live].all():
                why.append(UNREAD)
            if why:
                found[axis] = tuple(why)
        return found


@dataclass(frozen=True)
class _Roles:
    """What leaves do with units, from the operations in their order."""

    role: Mapping[LeafAxis, str]
    first: Mapping[int, tuple[int, int]]

    @classmethod
    def of(
        cls, axes: Mapping[LeafAxis, Ints], relations: Relations, components: Components
    ) -> "_Roles":
        size = 1 + max((int(units[-1]) for units in axes.values()), default=0)
        owner: list[LeafAxis] = list(axes)
        axis_of = np.full(size, -1)
        for i, units in enumerate(axes.values()):
            axis_of[units] = i
        role: dict[LeafAxis, str] = {}
        first: dict[int, tuple[int, int]] = {}
        for event, (units, name) in enumerate(relations.roles):
            own = np.unique(units[(units > 0) & (units < size)])
            for i in np.unique(axis_of[own]).tolist():
                axis = owner[i]
                if role.get(axis) not in ("produces", "reads"):
                    role[axis] = _statistic(axis[0]) or name
            if name == "produces":
                _note_first(first, event, own, components)
        every = [np.zeros(0, np.int64), *axes.values()]
        _note_first(first, len(relations.roles), np.concatenate(every), components)
        return cls(role, first)

    def order(self, component: int) -> tuple[int, int]:
        """When a component is produced first, and by which unit."""
        return self.first[component]

    def of_axis(self, axis: LeafAxis) -> str:
        """What a leaf does along one of its axes."""
        return self.role.get(axis) or _statistic(axis[0]) or "shifts"


def _note_first(
    first: dict[int, tuple[int, int]], event: int, units: Ints, components: Components
) -> None:
    """Notes the event, and the first unit, of components that were not seen before."""
    found, at = np.unique(components.of(units), return_index=True)
    for component, unit in zip(found.tolist(), units[at].tolist(), strict=True):
        first.setdefault(component, (event, unit))


def is_statistic(path: str) -> bool:
    """Whether a leaf is a running statistic, as its collection says.

    >>> is_statistic("batch_stats/bn1/mean"), is_statistic("params/bn1/scale")
    (True, False)
    """
    collection, *rest = path.split("/")
    others = [name for name in COLLECTIONS if name not in ("params", "weights")]
    return bool(rest) and collection in others


def _statistic(path: str) -> str | None:
    return "statistic" if is_statistic(path) else None


def _numbered(components: Ints, number: Ints) -> Ints:
    return np.where(components == FREE, -1, number[components])


def _why_inexact(
    relations: Relations, components: Components, number: Ints
) -> tuple[Reason, ...]:
    return tuple(
        reason
        for reason, units in relations.inexact.items()
        if any((number[components.of(u)] >= 0).any() for u in units)
    )


def _owner(axes: Mapping[LeafAxis, Ints], unit: int) -> str:
    """The path of the leaf that a unit was made for."""
    return next(
        path for (path, _), units in axes.items() if units[0] <= unit <= units[-1]
    )


def _module(path: str) -> str:
    """The path of the module of a leaf, without the collection.

    >>> _module("params/layer1/conv1/kernel"), _module("w")
    ('layer1/conv1', 'w')
    """
    parts = path.split("/")
    parts = parts[1:] if len(parts) > 1 and parts[0] in COLLECTIONS else parts
    return "/".join(parts[:-1] or parts)


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    """A name that is not taken yet.

    >>> _unused("conv1", {"conv1": 1})
    'conv1_1'
    """
    numbers = (f"{name}_{i}" for i in range(1, len(taken) + 2))
    return name if name not in taken else next(n for n in numbers if n not in taken)
