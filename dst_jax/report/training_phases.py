"""Training curves: the lines of metrics.jsonl, phase after phase on one time axis."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Phase", "phases", "stage_ends"]


@dataclass(frozen=True)
class Phase:
    """The log of one phase, such as `induce` of the stage `sparsify_weights`."""

    stage: str
    name: str
    start: float
    """Epochs of all earlier phases."""
    epochs: float
    lines: tuple[Mapping[str, Any], ...]

    @property
    def label(self) -> str:
        """`stage`, or `stage: phase` where the phase has a name of its own.

        >>> Phase("sparsify_weights", "induce", 20.0, 5.0, ()).label
        'sparsify_weights: induce'
        """
        return self.stage if self.name == self.stage else f"{self.stage}: {self.name}"

    def curve(self, kind: str, quantity: str) -> tuple[list[float], list[float]]:
        """Epochs since the run's start, and the values logged there.

        A log interval that is cut short, as at an epoch's end, is too noisy to be a
        point of its own: it is averaged, by steps, with the one after it.

        Args:
          kind: "train" (a log interval) or "eval" (an epoch's end, on the hold-out).
          quantity: a key of those lines, such as "top1"; lines without it, or
            with a value that is not finite, are left out.

        >>> lines = ({"kind": "eval", "epoch": 1, "top1": 0.5},)
        >>> Phase("control", "control", 20.0, 1.0, lines).curve("eval", "top1")
        ([21.0], [0.5])
        """
        lines = [
            line
            for line in self.lines
            if line.get("kind") == kind and _is_finite(line.get(quantity))
        ]
        groups = _of_similar_steps(lines)
        epochs = [self.start + float(group[-1]["epoch"]) for group in groups]
        return epochs, [_mean_over_steps(group, quantity) for group in groups]


def phases(lines: Sequence[Mapping[str, Any]]) -> tuple[Phase, ...]:
    """Phases in the order of their first line, each starting where the last one ends.

    Args:
      lines: objects of metrics.jsonl. Within a phase `epoch` counts from 0.

    >>> log = [{"stage": "a", "phase": "a", "epoch": 2.0}, {"stage": "b", "epoch": 1.0}]
    >>> [(phase.label, phase.start, phase.epochs) for phase in phases(log)]
    [('a', 0.0, 2.0), ('b', 2.0, 1.0)]
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        key = line["stage"], line.get("phase", line["stage"])
        groups.setdefault(key, []).append(line)
    result, start = [], 0.0
    for (stage, name), group in groups.items():
        epochs = max(float(line["epoch"]) for line in group)
        result.append(Phase(stage, name, start, epochs, tuple(group)))
        start += epochs
    return tuple(result)


def stage_ends(timeline: Sequence[Phase], stages: Sequence[str]) -> dict[str, float]:
    """Epochs since the run's start at which each stage ends.

    A stage that logged nothing (a baseline read from a file) takes no time.

    >>> timeline = phases([{"stage": "b", "epoch": 3.0}])
    >>> stage_ends(timeline, ["a", "b"])
    {'a': 0.0, 'b': 3.0}
    """
    ends, now = {}, 0.0
    for stage in stages:
        own = [p.start + p.epochs for p in timeline if p.stage == stage]
        now = max(own, default=now)
        ends[stage] = now
    return ends


def _of_similar_steps(
    lines: Sequence[Mapping[str, Any]],
) -> list[list[Mapping[str, Any]]]:
    """Lines one after another, in groups of at least half as many steps as any has."""
    least = max(map(_steps, lines), default=0) / 2
    groups: list[list[Mapping[str, Any]]] = []
    open_group: list[Mapping[str, Any]] = []
    for line in lines:
        open_group.append(line)
        if sum(map(_steps, open_group)) >= least:
            groups.append(open_group)
            open_group = []
    if open_group:  # only after another one: the longest line is in a group
        groups[-1] += open_group
    return groups


def _mean_over_steps(lines: Sequence[Mapping[str, Any]], quantity: str) -> float:
    if len(lines) == 1:
        return float(lines[0][quantity])
    weighted = sum(_steps(line) * float(line[quantity]) for line in lines)
    return weighted / sum(map(_steps, lines))


def _steps(line: Mapping[str, Any]) -> float:
    """Steps of a log interval; 1 for a line that is of a moment."""
    return max(float(line.get("steps", 1)), 1.0)


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
