"""Multiplications of a whole training: the lines of ledger.jsonl, integrated.

A step that was counted stands for those after it, up to the next one that was counted.
In between, what follows from weights follows the masks: products in proportion to the
kept weights of their layer, which the ledger has summed over every step.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PartCost", "TrainingCost", "training_costs"]

_WEIGHTS = "weight_gradient"


@dataclass(frozen=True)
class PartCost:
    """Multiplications of one part of the steps of a stage.

    Attributes:
      valid: all of them, as in dense training.
      by_weight: those of kept weights: what formulas of papers count.
      effectual: those that no zero of weights, activations or gradients saves.
    """

    valid: float = 0.0
    by_weight: float = 0.0
    effectual: float = 0.0

    def __add__(self, other: "PartCost") -> "PartCost":
        return PartCost(
            self.valid + other.valid,
            self.by_weight + other.by_weight,
            self.effectual + other.effectual,
        )


@dataclass(frozen=True)
class TrainingCost:
    """Multiplications of the training of one stage.

    Attributes:
      steps: number of steps.
      counted: number of steps that were counted whole.
      examples: examples of a step.
      layers: by operation and part: forward, input_gradient, weight_gradient.
    """

    steps: int = 0
    counted: int = 0
    examples: int = 0
    layers: Mapping[str, Mapping[str, PartCost]] = field(default_factory=dict)

    def total(self, part: str | None = None) -> PartCost:
        """The sum over all operations.

        Args:
          part: one part of a step; None adds all of them.

        >>> layers = {"fc": {"forward": PartCost(8, 4, 2)}}
        >>> TrainingCost(1, 1, 4, layers).total().effectual
        2.0
        """
        found = PartCost()
        for layer in self.layers.values():
            for name, own in layer.items():
                found += own if part in (None, name) else PartCost()
        return found


def training_costs(lines: Sequence[Mapping[str, Any]]) -> dict[str, TrainingCost]:
    """The cost of training by stage, its phases together.

    Args:
      lines: objects of ledger.jsonl.

    >>> counts = {"valid": 8, "by_weight": 4, "effectual": 2, "all_weights": 3}
    >>> place = {"stage": "a", "phase": "a"}
    >>> step = {"kind": "step", **place, "step": 1, "examples": 4,
    ...         "weights": {"fc/kernel": 2}, "layers": {"fc": {"forward": counts}}}
    >>> rest = {"kind": "interval", **place, "step": 5, "steps": 5,
    ...         "dense_gradients": 0, "weights": {"fc/kernel": 20}}
    >>> found = training_costs([step, rest])["a"]
    >>> found.steps, found.total()
    (5, PartCost(valid=40.0, by_weight=40.0, effectual=20.0))
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        groups.setdefault((line["stage"], line["phase"]), []).append(line)
    found: dict[str, TrainingCost] = {}
    for (stage, _), own in groups.items():
        counted = [line for line in own if line["kind"] == "step"]
        intervals = [line for line in own if line["kind"] == "interval"]
        if counted and intervals:
            cost = _integrated(counted, intervals)
            found[stage] = _joined(found[stage], cost) if stage in found else cost
    return found


def _integrated(
    counted: Sequence[Mapping[str, Any]], intervals: Sequence[Mapping[str, Any]]
) -> TrainingCost:
    """The cost of one phase."""
    layers: dict[str, dict[str, PartCost]] = {}
    for interval in intervals:
        for line, steps in _shared_out(counted, interval):
            dense = steps * interval["dense_gradients"] / interval["steps"]
            for name, parts in line["layers"].items():
                ratio = _ratio(name, line["weights"], interval)
                own = layers.setdefault(name, {})
                for part, counts in parts.items():
                    needs = dense if part == _WEIGHTS else 0.0
                    cost = _cost(counts, steps, needs, ratio)
                    own[part] = own.get(part, PartCost()) + cost
    return TrainingCost(
        steps=sum(line["steps"] for line in intervals),
        counted=len(counted),
        examples=int(counted[0]["examples"]),
        layers=layers,
    )


def _shared_out(
    counted: Sequence[Mapping[str, Any]], interval: Mapping[str, Any]
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The counted steps that stand for those of an interval, and for how many."""
    last = interval["step"]
    first = last - interval["steps"] + 1
    for i, line in enumerate(counted):
        start = line["step"] if i else first
        end = counted[i + 1]["step"] - 1 if i + 1 < len(counted) else last
        steps = min(end, last) - max(start, first) + 1
        if steps > 0:
            yield line, steps


def _ratio(
    operation: str, kept: Mapping[str, int], interval: Mapping[str, Any]
) -> float:
    """Kept weights of an operation's layer, over those when a step was counted.

    A layer's weights are those of its path; an operation without any, whose kernel
    belongs to another layer, follows all of them together.
    """
    own = [name for name in kept if _is_of(operation, name)] or list(kept)
    then = sum(kept[name] for name in own)
    now = sum(interval["weights"].get(name, 0) for name in own) / interval["steps"]
    return now / then if then else 1.0


def _is_of(operation: str, leaf: str) -> bool:
    """Whether a leaf is a weight of the layer of an operation.

    >>> _is_of("block/conv1", "weights/block/conv1/kernel"), _is_of("fc", "fc2/kernel")
    (True, False)
    """
    module = leaf.removeprefix("weights/").rpartition("/")[0]
    return bool(module) and f"{operation}/".startswith(f"{module}/")


def _cost(
    counts: Mapping[str, int], steps: float, dense: float, ratio: float
) -> PartCost:
    """The cost of steps, of which some need the gradients of all weights."""
    sparse = (steps - dense) * ratio
    return PartCost(
        valid=float(steps * counts["valid"]),
        by_weight=sparse * counts["by_weight"] + dense * counts["valid"],
        effectual=sparse * counts["effectual"] + dense * counts["all_weights"],
    )


def _joined(one: TrainingCost, other: TrainingCost) -> TrainingCost:
    """The cost of two phases of a stage."""
    layers = {name: dict(parts) for name, parts in one.layers.items()}
    for name, parts in other.layers.items():
        own = layers.setdefault(name, {})
        for part, cost in parts.items():
            own[part] = own.get(part, PartCost()) + cost
    return TrainingCost(
        steps=one.steps + other.steps,
        counted=one.counted + other.counted,
        examples=other.examples,
        layers=layers,
    )
