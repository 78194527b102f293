"""What a comparison prints and writes once its cells are trained and tested."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from experiments.grid import report
from experiments.grid.penalties import figures, tables
from experiments.grid.penalties.choice import Choice, Criterion
from experiments.grid.penalties.settings import Setting
from experiments.grid.records import Record
from experiments.running.quality import Quality

__all__ = ["write"]


def write(
    directory: Path,
    settings: Sequence[Setting],
    choices: Sequence[Choice],
    *,
    criterion: Criterion,
    records: Sequence[Record],
    tests: Sequence[Record],
    evals: Mapping[str, Sequence[Record]],
) -> Path:
    """Prints the verdict; writes report.html, report.md and figures/*.png.

    Args:
      directory: the comparison's directory.
      settings: the grid.
      choices: one per method.
      criterion: what the choices follow.
      records: the hold-out on every cell.
      tests: the test set on baseline, control and choices; empty if it was not read.
      evals: the curves of every cell, from one seed.

    Returns:
      The path of report.md.
    """
    shown = [tables.grid(choices, records, criterion.quality)]
    if tests:
        cells = list(dict.fromkeys(test["cell"] for test in tests))
        verdict = tables.chosen(choices, tests, criterion)
        shown = [verdict, tables.layers(cells, tests), *shown]
    drawn = _figures(settings, choices, records, evals, criterion.quality)
    return report.write(directory, "Penalties compared", shown, drawn)


def _figures(
    settings: Sequence[Setting],
    choices: Sequence[Choice],
    records: Sequence[Record],
    evals: Mapping[str, Sequence[Record]],
    quality: Quality,
) -> dict[str, Figure]:
    drawn = {"fronts": figures.fronts(settings, records, choices, quality)}
    chosen = ["control", *(choice.setting.name for choice in choices)]
    if any(evals.values()):
        drawn["curves"] = figures.curves(
            {name: evals[name] for name in chosen}, quality
        )
    shaped = _over_a_shape(settings)
    if shaped:
        drawn["shapes"] = figures.shapes(shaped, records, quality)
        names = ["control", *(setting.name for setting in shaped)]
        if any(evals.values()):
            shown = {name: evals[name] for name in names}
            drawn["shape_curves"] = figures.curves(shown, quality)
    return drawn


def _over_a_shape(settings: Sequence[Setting]) -> list[Setting]:
    """Those that differ only in the value of their one shape parameter, by value."""
    groups: dict[tuple[str, float | None], list[Setting]] = {}
    for setting in settings:
        if len(setting.options) == 1 and setting.budget is None:
            key = setting.penalty, setting.strength
            groups.setdefault(key, []).append(setting)
    return [
        setting
        for group in groups.values()
        if len(group) > 1
        for setting in sorted(group, key=lambda setting: setting.options)
    ]
