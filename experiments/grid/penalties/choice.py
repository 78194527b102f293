"""Which strength of each penalty is reported: chosen on the hold-out alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.grid.penalties.settings import Setting
from experiments.grid.records import Record, Spread, matching, spread

__all__ = ["Choice", "Criterion", "choose", "sparsity", "top1"]


@dataclass(frozen=True)
class Choice:
    """The setting that stands for its method.

    Attributes:
      setting: the setting.
      matched: Whether it is what the criterion asks for, or only the nearest to it.
      top1, sparsity: its accuracy and sparsity on the hold-out, over seeds.
    """

    setting: Setting
    matched: bool
    top1: Spread
    sparsity: Spread


@dataclass(frozen=True)
class Criterion:
    """What is compared at equal accuracy, or else at equal sparsity.

    Attributes:
      margin: a setting matches if its accuracy, averaged over seeds, is at most this
        share of examples below that of the dense control; the most sparse that matches
        is chosen, or, if none does, the most accurate.
      sparsity: if given, a setting matches if at least this share is zero; the most
        accurate that matches is chosen, or, if none does, the most sparse.
    """

    margin: float
    sparsity: float | None = None

    def __str__(self) -> str:
        if self.sparsity is not None:
            return (
                "Chosen: the most accurate setting of which at least "
                f"{100 * self.sparsity:g} % are zeros on the hold-out; * if none is, "
                "then the most sparse."
            )
        return (
            "Chosen: the most sparse setting whose hold-out accuracy is at most "
            f"{100 * self.margin:g} points below the dense control's; * if none is, "
            "then the most accurate."
        )


def choose(
    settings: Sequence[Setting], records: Sequence[Record], criterion: Criterion
) -> list[Choice]:
    """One choice per penalty, alone or with FATReLUs, in the grid's order.

    Args:
      settings: the whole grid, every cell of it finished.
      records: records of its cells and of the cell `control`.
      criterion: what to choose.

    >>> found = {"control": (0.9, 0.5), "l1_1": (0.9, 0.6), "l1_2": (0.8, 0.7)}
    >>> records = [
    ...     {"cell": name, "top1": top1, "activation_sparsity": {"element": zeros}}
    ...     for name, (top1, zeros) in found.items()
    ... ]
    >>> settings = [Setting("l1", 1.0), Setting("l1", 2.0)]
    >>> choose(settings, records, Criterion(margin=0.01))[0].setting.strength
    1.0
    """
    floor = spread(matching(records, "control"), top1).mean - criterion.margin
    by_method: dict[str, list[Choice]] = {}
    for setting in settings:
        own = matching(records, setting.name)
        accuracy, zeros = spread(own, top1), spread(own, sparsity)
        # Means over seeds: what is equal may differ in the last bit.
        matched = accuracy.mean >= floor - 1e-9
        if criterion.sparsity is not None:
            matched = zeros.mean >= criterion.sparsity - 1e-9
        choice = Choice(setting, matched, accuracy, zeros)
        by_method.setdefault(setting.method, []).append(choice)
    return [_best(choices, criterion) for choices in by_method.values()]


def _best(choices: list[Choice], criterion: Criterion) -> Choice:
    matching = [choice for choice in choices if choice.matched]
    # Of those that match in one quantity the best in the other.
    by_sparsity = bool(matching) == (criterion.sparsity is None)
    return max(
        matching or choices,
        key=lambda choice: (choice.sparsity if by_sparsity else choice.top1).mean,
    )


def top1(record: Record) -> float:
    """Accuracy of a record.

    >>> top1({"top1": 0.99})
    0.99
    """
    return record["top1"]


def sparsity(record: Record) -> float:
    """Zeros of all maps over elements of all maps.

    >>> sparsity({"activation_sparsity": {"element": 0.6}})
    0.6
    """
    return record["activation_sparsity"]["element"]
