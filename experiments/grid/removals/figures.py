"""The figure of a comparison of removals."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from dst_jax.report.channel_records import UnitCount
from dst_jax.report.figures import widths_over_rounds
from dst_jax.report.run_results import RunResults, StageResults
from experiments.grid.records import Record

__all__ = ["widths"]


def widths(
    records: Sequence[Record], relaxations: Mapping[str, Sequence[str]]
) -> Figure | None:
    """Channels of every group over the rounds of each relaxation, of the first seed.

    Args:
      records: the records of cells, with `kept` and `units` by group.
      relaxations: the cells of the rounds of each, by its name.

    Returns:
      The figure; None where fewer than two rounds have removed anything.

    >>> kept = [{"a": 4}, {"a": 2}]
    >>> records = [
    ...     {"cell": cell, "seed": 0, "kept": own, "units": {"a": 8}}
    ...     for cell, own in zip(["search2", "end"], kept)
    ... ]
    >>> (axes,) = widths(records, {"end": ["search1", "search2", "end"]}).axes
    >>> [text.get_text() for text in axes.texts]
    ['4', '2']
    """
    if not records:
        return None
    seed = min(record["seed"] for record in records)
    found = {record["cell"]: record for record in records if record["seed"] == seed}
    panels = []
    for name, cells in relaxations.items():
        done = [found[c] for c in cells if c in found and found[c].get("units")]
        if len(done) < 2:
            continue
        kept, units = done[-1]["kept"], done[-1]["units"]
        panel = StageResults(
            name,
            name.replace("_", " "),
            {},
            0,
            channels={group: UnitCount(units[group], kept[group]) for group in units},
            rounds={
                record["cell"].removeprefix(f"{name}_").replace(name, "finetune"): (
                    record["kept"]
                )
                for record in done
            },
        )
        panels.append(panel)
    if not panels:
        return None
    return widths_over_rounds.draw(RunResults(Path(), tuple(panels)))
