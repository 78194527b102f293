"""Which strength of each penalty is reported: chosen on the hold-out alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.comparison.grid import Setting
from experiments.comparison.records import Record, Spread, matching, spread

__all__ = ["Choice", "choose", "sparsity", "top1"]


@dataclass(frozen=True)
class Choice:
    """The setting that stands for its method.

    Attributes:
      setting: the most sparse of those that match the control's accuracy, or, if none
        does, the most accurate.
      matched: whether it matches.
      top1, sparsity: on the hold-out, over seeds.
    """

    setting: Setting
    matched: bool
    top1: Spread
    sparsity: Spread


def choose(
    settings: Sequence[Setting], records: Sequence[Record], *, margin: float
) -> list[Choice]:
    """One choice per penalty, alone or with FATReLUs, in the grid's order.

    A setting matches if its accuracy, averaged over seeds, is at most `margin` below
    that of the dense control.

    Args:
      settings: the whole grid, every cell of it finished.
      records: of cells and of the cell `control`.
      margin: a share of examples, 0.001 for a tenth of a point.
    """
    floor = spread(matching(records, "control"), top1).mean - margin
    by_method: dict[str, list[Choice]] = {}
    for setting in settings:
        own = matching(records, setting.name)
        accuracy, zeros = spread(own, top1), spread(own, sparsity)
        # Sums of 1/n: equal accuracies may differ in the last bit.
        matched = accuracy.mean >= floor - 1e-9
        choice = Choice(setting, matched, accuracy, zeros)
        by_method.setdefault(setting.method, []).append(choice)
    return [_best(choices) for choices in by_method.values()]


def _best(choices: list[Choice]) -> Choice:
    matching = [choice for choice in choices if choice.matched]
    if matching:
        return max(matching, key=lambda choice: choice.sparsity.mean)
    return max(choices, key=lambda choice: choice.top1.mean)


def top1(record: Record) -> float:
    """Accuracy of a record."""
    return record["top1"]


def sparsity(record: Record) -> float:
    """Zeros of all maps over elements of all maps."""
    return record["activation_sparsity"]["element"]
