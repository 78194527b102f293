"""What has been removed from a stage's network, and how long it takes now."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ForwardTime",
    "UnitCount",
    "forward_time",
    "parameter_shapes",
    "parameters",
    "shape_text",
    "unit_counts",
]


@dataclass(frozen=True)
class UnitCount:
    """Units of one group of channels.

    Attributes:
      whole: number before anything was removed.
      kept: number that is left.
    """

    whole: int
    kept: int


@dataclass(frozen=True)
class ForwardTime:
    """Median time of the forward pass, `forward_time` of a stage's record.

    Attributes:
      whole: seconds of the whole network.
      smaller: seconds of the smaller one.
      batch: number of images.
      runs: number of runs of each, in turns.
      machine: what they were measured on.
    """

    whole: float
    smaller: float
    batch: int
    runs: int
    machine: str

    @property
    def speed_up(self) -> float:
        """Time of the whole network over that of the smaller one.

        >>> ForwardTime(0.5, 0.25, 16, 11, "cpu").speed_up
        2.0
        """
        return self.whole / self.smaller if self.smaller else float("nan")


def unit_counts(network: Mapping[str, Any]) -> dict[str, UnitCount]:
    """Units by group, of a network from which some have been removed.

    Args:
      network: `network` of a stage's record; other models have plans of another kind.

    >>> plan = {"groups": {"conv1": {"size": 8}}, "kept": {"conv1": [0, 2]}}
    >>> unit_counts({"plans": [plan]})
    {'conv1': UnitCount(whole=8, kept=2)}
    """
    plans = [
        plan
        for plan in network.get("plans") or ()
        if isinstance(plan, dict) and {"groups", "kept"} <= plan.keys()
    ]
    if not plans:
        return {}
    groups, kept = plans[-1]["groups"], plans[-1]["kept"]
    return {
        name: UnitCount(int(groups[name]["size"]), len(units))
        for name, units in kept.items()
    }


def parameters(network: Mapping[str, Any]) -> int | None:
    """The number of parameters of a network; None if its shapes are not recorded.

    Args:
      network: `network` of a stage's record.

    >>> parameters({"shapes": {"params/fc": [2, 3], "batch_stats/bn": [3]}})
    6
    """
    if network.get("shapes") is None:
        return None
    return sum(map(math.prod, parameter_shapes(network).values()))


def parameter_shapes(network: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shapes of a network's parameters by path; none if they are not recorded.

    Args:
      network: `network` of a stage's record.

    >>> parameter_shapes({"shapes": {"params/fc": [2, 3], "batch_stats/bn": [3]}})
    {'fc': (2, 3)}
    """
    shapes = network.get("shapes") or {}
    return {
        path.removeprefix("params/"): tuple(map(int, shape))
        for path, shape in shapes.items()
        if path.startswith("params/")
    }


def shape_text(shape: Sequence[int] | None) -> str:
    """A shape as reports write it; empty if there is none.

    >>> shape_text((3, 3, 16, 32)), shape_text(None)
    ('3 x 3 x 16 x 32', '')
    """
    return "" if shape is None else " x ".join(map(str, shape))


def forward_time(record: Mapping[str, Any]) -> ForwardTime:
    """The times of the networks of a stage.

    Args:
      record: `forward_time` of the stage's record.

    >>> forward_time({"batch": 16, "runs": 11, "machine": {"devices": "1 x cpu"},
    ...               "seconds": {"whole": 0.2, "smaller": 0.1}}).speed_up
    2.0
    """
    seconds, machine = record["seconds"], record["machine"]
    named = [str(machine["devices"])]
    if "cores" in machine:
        named.append(f"{machine['cores']} cores")
    return ForwardTime(
        whole=float(seconds["whole"]),
        smaller=float(seconds["smaller"]),
        batch=int(record["batch"]),
        runs=int(record["runs"]),
        machine=", ".join(named),
    )
