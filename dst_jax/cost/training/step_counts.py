"""The multiplications of the parts of a training step."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from dst_jax.cost.training.gradient_phases import ProductPart
from dst_jax.jaxprs.exact_integers import Count

__all__ = ["StepCounts", "TrainingCounts", "step_counts"]

CountOrInt = Count | int
"""A count on the device, or an integer on the host."""


class StepCounts(NamedTuple):
    """Multiplications of one operation in one part of a training step.

    effectual <= all_weights <= by_activation, by_gradient <= valid;
    effectual <= by_weight <= valid. A factor that a part does not have has no zeros.

    Attributes:
      valid: products of two stored elements.
      by_activation: valid products whose activation is nonzero; of two activations,
        those where both are.
      by_weight: valid products whose weight is nonzero; of a weight gradient, those
        summed to a weight whose gradient is needed.
      by_gradient: valid products whose gradient is nonzero.
      effectual: valid products for which all of this holds.
      all_weights: the same, if the gradients of all weights are needed.

    >>> StepCounts(8, 6, 4, 5, 2, 4).effectual
    2
    """

    valid: CountOrInt
    by_activation: CountOrInt
    by_weight: CountOrInt
    by_gradient: CountOrInt
    effectual: CountOrInt
    all_weights: CountOrInt


class TrainingCounts(NamedTuple):
    """Multiplications of a training step by part and operation.

    Attributes:
      forward: forward pass, and what remat computes again.
      input_gradient: gradients of activations.
      weight_gradient: gradients of weights.

    >>> one = {"fc": StepCounts(8, 6, 4, 8, 2, 2)}
    >>> TrainingCounts(one, {}, one).total().valid
    16
    """

    forward: Mapping[str, StepCounts]
    input_gradient: Mapping[str, StepCounts]
    weight_gradient: Mapping[str, StepCounts]

    def total(self) -> StepCounts:
        """The sum over all parts and operations; on the device if the counts are."""
        return _sum(op for part in self for op in part.values())

    def as_dict(self) -> dict[str, dict[str, dict[str, int]]]:
        """By operation, part and field as plain integers, ready for JSON.

        >>> TrainingCounts({"fc": StepCounts(8, 6, 4, 8, 2, 2)}, {}, {}).as_dict()
        {'fc': {'forward': {'valid': 8, 'by_activation': 6, ...}}}
        """
        found: dict[str, dict[str, dict[str, int]]] = {}
        for part, operations in self._asdict().items():
            for name, op in operations.items():
                numbers = {field: int(n) for field, n in op._asdict().items()}
                found.setdefault(name, {})[part] = numbers
        return found


def step_counts(
    part: ProductPart,
    valid: CountOrInt,
    sides: tuple[CountOrInt, CountOrInt],
    both: CountOrInt,
    *,
    by_weight: CountOrInt | None = None,
    effectual: CountOrInt | None = None,
) -> StepCounts:
    """The counts of one product.

    Args:
      part: what it is.
      valid: valid products.
      sides: valid products whose left, and whose right operand is nonzero.
      both: valid products whose operands are both nonzero.
      by_weight, effectual: counts of a weight gradient for the weights that need it.

    >>> forward = ProductPart("forward", None, 1, frozenset({0}))
    >>> step_counts(forward, Count.of(8), (Count.of(6), Count.of(4)), Count.of(3))[:3]
    (Count(8), Count(6), Count(4))
    """
    of_weight = valid if part.weight is None else sides[part.weight]
    of_gradient = valid if part.gradient is None else sides[part.gradient]
    others = [i for i in (0, 1) if i not in (part.weight, part.gradient)]
    if part.part == "weight_gradient" and part.weight is not None:
        others, of_weight = [part.weight], valid  # of two weights that are multiplied
    of_activation = both if len(others) == 2 else valid
    if len(others) == 1:
        of_activation = sides[others[0]]
    return StepCounts(
        valid,
        of_activation,
        of_weight if by_weight is None else by_weight,
        of_gradient,
        both if effectual is None else effectual,
        both,
    )


def _sum(operations: Iterable[StepCounts]) -> StepCounts:
    rows = list(operations)
    return StepCounts(*(sum(row[i] for row in rows) for i in range(6)))
