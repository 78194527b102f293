"""What a comparison prints and writes once its cells are trained and tested."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from dst_jax.report import style
from dst_jax.report.terminal import render
from experiments.comparison import figures, tables
from experiments.comparison.choice import Choice
from experiments.comparison.grid import Setting
from experiments.comparison.records import Record

__all__ = ["write"]


def write(
    out: Path,
    settings: Sequence[Setting],
    choices: Sequence[Choice],
    *,
    margin: float,
    records: Sequence[Record],
    tests: Sequence[Record],
    evals: Mapping[str, Sequence[Record]],
) -> Path:
    """Prints the verdict; writes report.md and figures/*.png.

    Args:
      out: the comparison's directory.
      settings: the grid.
      choices: one per penalty.
      margin: of the choice, a share of examples.
      records: the hold-out on every cell.
      tests: the test set on baseline, control and choices.
      evals: the curves of those, from one seed.

    Returns:
      The path of report.md.
    """
    cells = list(dict.fromkeys(test["cell"] for test in tests))
    verdict = tables.chosen(choices, tests, margin=margin)
    maps = tables.layers(cells, tests)
    drawn = _figures(settings, choices, records, evals)
    (out / "figures").mkdir(exist_ok=True)
    for name, figure in drawn.items():
        (out / "figures" / f"{name}.png").write_bytes(style.png(figure))
    parts = [tables.markdown(t) for t in (verdict, maps, tables.grid(choices, records))]
    images = [f"![{name}](figures/{name}.png)\n" for name in drawn]
    path = out / "report.md"
    path.write_text("\n".join(["# Penalties compared\n", *parts, *images]))
    console = Console()
    for table in (verdict, maps):
        console.print(table.title, style="bold", markup=False)
        console.print(render(table))
        console.print(table.note, style="dim", markup=False)
    return path


def _figures(
    settings: Sequence[Setting],
    choices: Sequence[Choice],
    records: Sequence[Record],
    evals: Mapping[str, Sequence[Record]],
) -> dict[str, Figure]:
    drawn = {"fronts": figures.fronts(settings, records, choices)}
    if any(evals.values()):
        drawn["curves"] = figures.curves(evals)
    if any(len(setting.options) == 1 for setting in settings):
        drawn["shapes"] = figures.shapes(settings, records)
    return drawn
