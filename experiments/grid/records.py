"""The table of a comparison: a line of JSON for every finished cell and seed."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from dst_jax.report.tables.table import percent
from dst_jax.runs import Unreadable, append_line, read_lines, sync

__all__ = ["CellRecords", "Record", "Spread", "matching", "spread"]

Record = dict[str, Any]


class CellRecords:
    """Lines of a JSONL file by `(cell, seed)`; one cut short by a kill is left out."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self._records = {(r["cell"], r["seed"]): r for r in read_lines(path)}
        except KeyError as error:
            raise Unreadable(f"{path} has a line without {error}") from None

    def get(self, cell: str, seed: int) -> Record | None:
        """The record of a cell, or None while it is not finished.

        >>> CellRecords(Path("nowhere.jsonl")).get("baseline", 0) is None
        True
        """
        return self._records.get((cell, seed))

    def all(self) -> list[Record]:
        """Every record, in order of writing.

        >>> CellRecords(Path("nowhere.jsonl")).all()
        []
        """
        return list(self._records.values())

    def of(self, cells: Collection[str], seeds: Collection[int]) -> list[Record]:
        """The records of some cells and seeds: a file may hold more of both.

        >>> CellRecords(Path("nowhere.jsonl")).of(["baseline"], [0, 1])
        []
        """
        found = [self.get(cell, seed) for cell in cells for seed in seeds]
        return [record for record in found if record is not None]

    def add(self, record: Record) -> Record:
        """Appends a record with `cell` and `seed`, and returns it.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "cells.jsonl"
        ...     _ = CellRecords(path).add({"cell": "baseline", "seed": 0})
        ...     CellRecords(path).all()
        [{'cell': 'baseline', 'seed': 0}]
        """
        append_line(self.path, record)
        sync(self.path)
        self._records[record["cell"], record["seed"]] = record
        return record


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; 0 for a single one."""

    mean: float
    std: float
    n: int

    def text(self, write: Callable[[float], str] = percent) -> str:
        """`mean ± deviation`, or the mean alone if there is a single seed.

        Args:
          write: how either number is written.

        >>> Spread(0.55, 0.0707, 2).text(), Spread(0.5, 0.0, 1).text()
        ('55.00 ± 7.07', '50.00')
        """
        mean = write(self.mean)
        return mean if self.n == 1 else f"{mean} ± {write(self.std)}"


def spread(records: Sequence[Record], value: Callable[[Record], float]) -> Spread:
    """The spread of a value over records.

    Args:
      records: at least one record.
      value: the value of a record.

    >>> spread([{"x": 1.0}, {"x": 3.0}], lambda r: r["x"])
    Spread(mean=2.0, std=1.4142135623730951, n=2)
    """
    values = [value(record) for record in records]
    return Spread(fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values))


def matching(records: Sequence[Record], cell: str) -> list[Record]:
    """The records of one cell over all seeds.

    >>> matching([{"cell": "a", "seed": 0}, {"cell": "b", "seed": 0}], "b")
    [{'cell': 'b', 'seed': 0}]
    """
    return [record for record in records if record["cell"] == cell]
