"""What is removed from a network, as plain data in its original coordinates."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dst_jax import checks
from dst_jax.channels.axis_units import Bools
from dst_jax.channels.groups import Groups
from dst_jax.channels.kept_positions import Keep, kept_positions
from dst_jax.channels.recorded_groups import from_record, to_record
from dst_jax.channels.relations import SplitSide
from dst_jax.channels.removal import remove

__all__ = ["Plan"]


@dataclass(frozen=True, eq=False)
class Plan:
    """What is kept of the groups of a whole network.

    Plans are equal, and have the same hash, if they keep the same of the same groups.

    Attributes:
      groups: the groups of the whole network, without labels of an auxiliary output.
      kept: by group, the units that are kept, ascending; of every group.

    >>> import jax.numpy as jnp
    >>> from dst_jax import channels
    >>> w = {"fc1": jnp.ones((4, 3)), "fc2": jnp.ones((3, 2))}
    >>> net = lambda w, x: x @ w["fc1"] @ w["fc2"]
    >>> groups = channels.groups(net)(w, jnp.ones((1, 4)))
    >>> plan = Plan.of(groups, {"fc1": [True, False, True]})
    >>> plan.kept, plan.positions["fc2"]
    ({'fc1': (0, 2)}, {0: (0, 2)})
    >>> plan.then({"fc1": [False, True]}).kept
    {'fc1': (2,)}
    """

    groups: Groups
    kept: Mapping[str, tuple[int, ...]]

    @classmethod
    def of(cls, groups: Groups, keep: Keep) -> "Plan":
        """The plan that keeps these units.

        Args:
          groups: from `channels.groups`.
          keep: `{group: bool[size]}`; a group that it lacks stays whole.

        Raises:
          ValueError: as `channels.remove`.
        """
        kept_positions(groups, keep)
        chosen = {
            name: np.flatnonzero(keep.get(name, np.ones(group.size, bool)))
            for name, group in groups.items()
        }
        bare = Groups(
            groups,
            shapes=groups.shapes,
            fixed=groups.fixed,
            aux={},
            split=groups.split,
        )
        return cls(bare, {name: tuple(kept.tolist()) for name, kept in chosen.items()})

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The whole shape of every leaf by path.

        >>> from dst_jax.channels.partition import Group
        >>> group = Group("a", 3, (("a", 0, np.arange(3)),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={})
        >>> plan = Plan.of(found, {"a": [True, False, True]})
        >>> plan.shapes
        {'a': (3,)}
        """
        return self.groups.shapes

    @property
    def sizes(self) -> dict[str, int]:
        """The number of units of every whole group.

        >>> from dst_jax.channels.partition import Group
        >>> group = Group("a", 3, (("a", 0, np.arange(3)),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={})
        >>> plan = Plan.of(found, {"a": [True, False, True]})
        >>> plan.sizes
        {'a': 3}
        """
        return {name: group.size for name, group in self.groups.items()}

    @property
    def split(self) -> SplitSide:
        """Which side of a split axis may lose positions.

        >>> from dst_jax.channels.partition import Group
        >>> group = Group("a", 3, (("a", 0, np.arange(3)),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={})
        >>> plan = Plan.of(found, {"a": [True, False, True]})
        >>> plan.split
        'outer'
        """
        return self.groups.split

    @property
    def keep(self) -> dict[str, Bools]:
        """By group, for every unit whether it is kept.

        >>> from dst_jax.channels.partition import Group
        >>> group = Group("a", 3, (("a", 0, np.arange(3)),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={})
        >>> plan = Plan.of(found, {"a": [True, False, True]})
        >>> plan.keep["a"].tolist()
        [True, False, True]
        """
        return {
            name: np.isin(np.arange(group.size), self.kept[name])
            for name, group in self.groups.items()
        }

    @functools.cached_property
    def positions(self) -> dict[str, dict[int, tuple[int, ...]]]:
        """By path and axis of a leaf that loses positions, those that are kept.

        >>> from dst_jax.channels.partition import Group
        >>> group = Group("a", 3, (("a", 0, np.arange(3)),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={})
        >>> plan = Plan.of(found, {"a": [True, False, True]})
        >>> plan.positions
        {'a': {0: (0, 2)}}
        """
        found: dict[str, dict[int, tuple[int, ...]]] = {}
        for path, axes in kept_positions(self.groups, self.keep).items():
            for axis, kept in axes.items():
                if not kept.all():
                    at = tuple(np.flatnonzero(kept).tolist())
                    found.setdefault(path, {})[axis] = at
        return found

    def then(self, keep: Keep) -> "Plan":
        """The plan of two rounds: what is kept of what this one leaves.

        Args:
          keep: `{group: bool[units left]}`; a group that it lacks stays as it is.

        Raises:
          ValueError: a group is unknown, or its `keep` has another length.
        """
        both = self.keep
        for name, chosen in keep.items():
            checks.one_of("group", name, self.groups)
            left = np.asarray(chosen)
            if left.dtype != np.bool_ or left.shape != (len(self.kept[name]),):
                raise ValueError(
                    f"keep[{name!r}] must be bool of shape ({len(self.kept[name])},),"
                    f" the units that are left, got {left.dtype} of shape {left.shape}"
                )
            both[name] = np.isin(
                np.arange(self.groups[name].size), np.array(self.kept[name])[left]
            )
        return Plan.of(self.groups, both)

    def since(self, earlier: "Plan | None") -> dict[str, Bools]:
        """What is kept of what an earlier plan leaves: `earlier.then(since)` is this.

        Args:
          earlier: a plan of the same groups; None for the whole network.

        Raises:
          ValueError: the earlier plan has removed something that this one keeps, or is
            one of other groups.

        >>> import jax.numpy as jnp
        >>> from dst_jax import channels
        >>> w, x = {"a": jnp.ones((1, 3)), "b": jnp.ones((3, 1))}, jnp.ones((1, 1))
        >>> groups = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, x)
        >>> plan = Plan.of(groups, {"a": [True, False, True]})
        >>> plan.then({"a": [False, True]}).since(plan)["a"].tolist()
        [False, True]
        """
        if earlier is None:
            return self.keep
        for name, units in self.kept.items():
            checks.one_of("group", name, earlier.kept)
            gone = sorted(set(units) - set(earlier.kept[name]))
            if gone:
                raise ValueError(f"an earlier plan has removed {name!r} units {gone}")
        return {
            name: np.isin(earlier.kept[name], units)
            for name, units in self.kept.items()
            if earlier.kept[name]
        }

    def remove(self, tree: Any) -> Any:
        """A whole tree without what the plan removes; see `channels.remove`.

        >>> from dst_jax.channels.partition import Group
        >>> group = Group("a", 3, (("a", 0, np.arange(3)),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={})
        >>> plan = Plan.of(found, {"a": [True, False, True]})
        >>> plan.remove({"a": np.arange(3)})["a"].tolist()
        [0, 2]
        """
        return remove(tree, self.groups, self.keep)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON has it.

        >>> from dst_jax.channels.partition import Group
        >>> group = Group("a", 3, (("a", 0, np.arange(3)),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={})
        >>> plan = Plan.of(found, {"a": [True, False, True]})
        >>> plan.to_json()["kept"]
        {'a': [0, 2]}
        """
        kept = {name: list(units) for name, units in self.kept.items()}
        return {"kept": kept, **to_record(self.groups)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Plan":
        """The plan that `to_json` wrote.

        Args:
          record: what `to_json` returned.

        Raises:
          ValueError: an entry is missing or is none of a plan's; names it.

        >>> Plan.from_json({"kept": {}})
        Traceback (most recent call last):
        ValueError: a plan must have the entry 'shapes', got ('kept',)
        """
        groups = from_record(record)
        if "kept" not in record:
            raise ValueError(f"a plan must have the entry 'kept', got {tuple(record)}")
        if not isinstance(record["kept"], dict):
            raise ValueError(f"kept must be a mapping, got {record['kept']!r}")
        keep = {}
        for name, units in record["kept"].items():
            checks.one_of("group", name, groups)
            at = np.asarray(units)
            numbers = at.ndim == 1 and (at.dtype.kind == "i" or not at.size)
            if not numbers or not ((at >= 0) & (at < groups[name].size)).all():
                raise ValueError(
                    f"kept[{name!r}] must be units in [0, {groups[name].size}), got"
                    f" {units}"
                )
            keep[name] = np.isin(np.arange(groups[name].size), at)
        return cls.of(groups, keep)

    def explain(self) -> str:
        """What is kept of every group, and what the groups say of themselves.

        >>> import jax.numpy as jnp
        >>> from dst_jax import channels
        >>> w = {"fc1": jnp.ones((4, 3)), "fc2": jnp.ones((3, 2))}
        >>> net = lambda w, x: x @ w["fc1"] @ w["fc2"]
        >>> groups = channels.groups(net)(w, jnp.ones((1, 4)))
        >>> print(Plan.of(groups, {"fc1": [True, False, True]}).explain())
        fc1: 2 of 3 units kept: 0, 2
        fc1 axis 1: 2 of 3 positions
        fc2 axis 0: 2 of 3 positions
        of an axis that is split the outer side loses positions
        ...
        """
        lines = [
            f"{name}: {len(units)} of {self.sizes[name]} units kept"
            f"{_listed(units, self.sizes[name])}"
            for name, units in self.kept.items()
        ]
        axes = [
            f"{path} axis {axis}: {len(at)} of {self.shapes[path][axis]} positions"
            for path, found in self.positions.items()
            for axis, at in found.items()
        ]
        choice = f"of an axis that is split the {self.split} side loses positions"
        return "\n".join([*lines, *axes, choice, self.groups.explain()])

    @functools.cached_property
    def _identity(self) -> str:
        return json.dumps(self.to_json(), sort_keys=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plan) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)


def _listed(units: tuple[int, ...], size: int) -> str:
    """The units, unless they are all."""
    return "" if len(units) == size else f": {', '.join(map(str, units))}"
