"""Which strength of each penalty is reported: chosen on the hold-out alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.grid.penalties.settings import Setting
from experiments.grid.records import Record, Spread, matching, spread
from experiments.running.quality import Quality

__all__ = ["Choice", "Criterion", "choose", "sparsity"]


@dataclass(frozen=True)
class Choice:
    """The setting that stands for its method.

    Attributes:
      setting: the setting.
      matched: Whether it is what the criterion asks for, or only the nearest to it.
      quality, sparsity: its quality and its sparsity on the hold-out, over seeds.
    """

    setting: Setting
    matched: bool
    quality: Spread
    sparsity: Spread


@dataclass(frozen=True)
class Criterion:
    """What is compared at equal quality, or else at equal sparsity.

    Attributes:
      quality: what makes one network better than another, such as accuracy.
      margin: a setting matches if its quality, averaged over seeds, is at most this
        much worse than that of the dense control; the most sparse that matches is
        chosen, or, if none does, the best.
      sparsity: if given, a setting matches if at least this share is zero; the best
        that matches is chosen, or, if none does, the most sparse.
    """

    quality: Quality
    margin: float
    sparsity: float | None = None

    def __str__(self) -> str:
        measure = self.quality.measure
        if self.sparsity is not None:
            return (
                f"Chosen: the setting of the best {measure} of which at least"
                f" {100 * self.sparsity:g} % are zeros on the hold-out; * if none is,"
                " then the most sparse."
            )
        metric = self.quality.metric
        margin = f"{metric.scale * self.margin:g}{' points' * metric.is_share}"
        return (
            f"Chosen: the most sparse setting whose hold-out {measure} is at most"
            f" {margin} worse than the dense control's; * if none is, then the best."
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
    >>> from dst_jax.train import tasks
    >>> from experiments.running.quality import quality_of
    >>> criterion = Criterion(quality_of(tasks.classification()), margin=0.01)
    >>> choose(settings, records, criterion)[0].setting.strength
    1.0
    """
    quality = criterion.quality
    control = spread(matching(records, "control"), quality).mean
    floor = quality.gain(control) - criterion.margin
    by_method: dict[str, list[Choice]] = {}
    for setting in settings:
        own = matching(records, setting.name)
        found, zeros = spread(own, quality), spread(own, sparsity)
        # Means over seeds: what is equal may differ in the last bit.
        matched = quality.gain(found.mean) >= floor - 1e-9
        if criterion.sparsity is not None:
            matched = zeros.mean >= criterion.sparsity - 1e-9
        choice = Choice(setting, matched, found, zeros)
        by_method.setdefault(setting.method, []).append(choice)
    return [_best(choices, criterion) for choices in by_method.values()]


def _best(choices: list[Choice], criterion: Criterion) -> Choice:
    matching = [choice for choice in choices if choice.matched]
    # Of those that match in one quantity the best in the other.
    by_sparsity = bool(matching) == (criterion.sparsity is None)

    def worth(choice: Choice) -> float:
        if by_sparsity:
            return choice.sparsity.mean
        return criterion.quality.gain(choice.quality.mean)

    return max(matching or choices, key=worth)


def sparsity(record: Record) -> float:
    """Zeros of all maps over elements of all maps.

    >>> sparsity({"activation_sparsity": {"element": 0.6}})
    0.6
    """
    return record["activation_sparsity"]["element"]
