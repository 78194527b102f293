"""Groups as JSON has them: members as runs of consecutive units."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from dst_jax import checks
from dst_jax.channels.axis_units import Ints
from dst_jax.channels.groups import Groups
from dst_jax.channels.partition import Group
from dst_jax.channels.reasons import Reason
from dst_jax.channels.relations import SplitSide

__all__ = ["from_record", "to_record"]


def to_record(groups: Groups) -> dict[str, Any]:
    """Groups as JSON has them, without the labels of an auxiliary output.

    Returns:
      `shapes` by path; `groups` by name: `size`, `members` (`path`, `axis`, `role` and
      `units`, runs `[first, count]` of consecutive units; `[-1, count]` are positions
      of other groups), `inexact`, `needed`, `gates` and `ungated`; `fixed`, lists of
      path, axis and reasons; `split`.

    >>> group = Group("a", 2, (("a", 0, np.array([0, 1, -1])),), ("produces",))
    >>> record = to_record(Groups({"a": group}, shapes={"a": (3,)}, fixed={}, aux={}))
    >>> record["groups"]["a"]["members"][0]["units"]
    [[0, 2], [-1, 1]]
    """
    return {
        "shapes": {path: list(shape) for path, shape in groups.shapes.items()},
        "groups": {name: _group(group) for name, group in groups.items()},
        "fixed": [
            [path, axis, [list(reason) for reason in reasons]]
            for (path, axis), reasons in groups.fixed.items()
        ],
        "split": groups.split,
    }


def from_record(record: Mapping[str, Any]) -> Groups:
    """The groups that `to_record` wrote.

    Args:
      record: what `to_record` returned.

    Raises:
      ValueError: an entry is missing, or has another form.

    >>> from_record({"shapes": {}, "groups": {}, "fixed": [], "split": "inner"}).split
    'inner'
    """
    for name in ("shapes", "groups", "fixed", "split"):
        if name not in record:
            raise ValueError(
                f"a plan must have the entry {name!r}, got {tuple(record)}"
            )
    try:
        shapes = {path: tuple(map(int, x)) for path, x in record["shapes"].items()}
        found = {
            name: Group(
                name,
                int(x["size"]),
                tuple(
                    (m["path"], int(m["axis"]), _units(m["units"]))
                    for m in x["members"]
                ),
                tuple(m["role"] for m in x["members"]),
                tuple(Reason(*reason) for reason in x["inexact"]),
                _reason(x["needed"]),
                tuple(map(int, x.get("gates", ()))),  # of plans that lack them: none
                _reason(x.get("ungated")),
            )
            for name, x in record["groups"].items()
        }
        fixed = {
            (path, int(axis)): tuple(Reason(*reason) for reason in reasons)
            for path, axis, reasons in record["fixed"]
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"a plan has entries of another form: {type(error).__name__}: {error}"
        ) from None
    checks.one_of("split", record["split"], get_args(SplitSide))
    for name, group in found.items():
        for path, axis, units in group.members:
            shape = shapes.get(path, ())
            if axis >= len(shape) or shape[axis] != units.size:
                raise ValueError(
                    f"group {name!r} of a plan has {units.size} positions at {path}"
                    f" axis {axis}, whose shape is {shape}"
                )
    return Groups(found, shapes=shapes, fixed=fixed, aux={}, split=record["split"])


def _group(group: Group) -> dict[str, Any]:
    return {
        "size": group.size,
        "members": [
            {"path": path, "axis": axis, "role": role, "units": _runs(units)}
            for (path, axis, units), role in zip(
                group.members, group.roles, strict=True
            )
        ],
        "inexact": [list(reason) for reason in group.inexact],
        "needed": None if group.needed is None else list(group.needed),
        "gates": list(group.gates),
        "ungated": None if group.ungated is None else list(group.ungated),
    }


def _reason(record: Sequence[str] | None) -> Reason | None:
    return None if record is None else Reason(*record)


def _runs(units: Ints) -> list[list[int]]:
    """Runs of consecutive units, and of positions of other groups.

    >>> _runs(np.array([0, 1, 2, 0, 1, -1, -1]))
    [[0, 3], [0, 2], [-1, 2]]
    """
    steps = np.diff(units)
    follows = np.where(units[:-1] < 0, steps == 0, steps == 1)
    starts = np.flatnonzero(np.concatenate([[True], ~follows]))[: units.size]
    counts = np.diff(np.append(starts, units.size))
    return np.stack([units[starts], counts], axis=1).tolist()


def _units(runs: list[list[int]]) -> Ints:
    """The units of runs.

    >>> _units([[0, 2], [-1, 2]]).tolist()
    [0, 1, -1, -1]
    """
    parts = [
        np.full(count, -1) if first < 0 else np.arange(first, first + count)
        for first, count in runs
    ]
    return np.concatenate([np.zeros(0, np.int64), *parts])
