"""Rows of a comparison's table: a cell's values over its seeds, and where they go."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dst_jax.report.tables.table import Table, percent
from dst_jax.runs import to_json, write_text
from experiments.grid import report
from experiments.grid.records import Record, Spread

__all__ = ["Row", "make_row", "seeds", "text", "write"]

Row = dict[str, Any]
"""`cell`, `seeds`, and by name the mean, the deviation and the number of values."""


def make_row(
    cell: str, tested: Sequence[Record], values: Mapping[str, Spread], **more: Any
) -> Row:
    """The row of a cell.

    Args:
      cell: its name.
      tested: its records of the test set.
      values: its values over seeds by name.
      more: what else is in the row.

    >>> make_row("l2", [{"seed": 3}], {"top1": Spread(0.5, 0.0, 1)})["seeds"]
    [3]
    """
    spreads = {name: asdict(value) for name, value in values.items()}
    return {"cell": cell, "seeds": [r["seed"] for r in tested], **more, **spreads}


def seeds(row: Row) -> str:
    """The number of seeds as tables have it.

    >>> seeds({"seeds": [0, 1, 2]})
    '3'
    """
    return str(len(row["seeds"]))


def text(row: Row, name: str, write: Callable[[float], str] = percent) -> str:
    """A value of a row as tables have it.

    Args:
      row: the row.
      name: name of the value.
      write: how a number is written.

    >>> text({"top1": {"mean": 0.5, "std": 0.0, "n": 1}}, "top1")
    '50.00'
    """
    return Spread(**row[name]).text(write)


def write(
    directory: Path,
    title: str,
    rows: Sequence[Row],
    table: Table,
    figures: Mapping[str, Figure] | None = None,
) -> Path:
    """Writes report.html, report.md, figures and table.jsonl; prints the table.

    Args:
      directory: the comparison's directory.
      title: heading of the report.
      rows: the rows.
      table: the rows as text.
      figures: figures by name.

    Returns:
      The path of report.md.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write(Path(folder), "Compared", [], Table("T", ("a",), ()))
    ...     sorted(p.name for p in Path(folder).iterdir())
    T...
    ['report.html', 'report.md', 'table.jsonl']
    """
    lines = "".join(to_json(row) + "\n" for row in rows)
    write_text(directory / "table.jsonl", lines)
    return report.write(directory, title, [table], figures=figures)
