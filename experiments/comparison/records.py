"""The one table of a comparison: a line of JSON for every cell that is finished."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

__all__ = ["Record", "Records", "Spread", "matching", "spread"]

Record = dict[str, Any]


class Records:
    """Lines of a JSONL file by `(cell, seed)`; one cut short by a kill is left out."""

    def __init__(self, path: Path):
        self.path = path
        self._records: dict[tuple[str, int], Record] = {}
        text = path.read_text() if path.exists() else ""
        self._before = "\n" if text and not text.endswith("\n") else ""
        for line in text.splitlines():
            try:
                self._keep(json.loads(line))
            except json.JSONDecodeError:
                continue

    def get(self, cell: str, seed: int) -> Record | None:
        """The record of a cell, or None while it is not finished."""
        return self._records.get((cell, seed))

    def all(self) -> list[Record]:
        """Every record, in order of writing."""
        return list(self._records.values())

    def add(self, record: Record) -> Record:
        """Appends a record with `cell` and `seed`, and returns it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(f"{self._before}{json.dumps(record)}\n")
        self._before = ""
        return self._keep(record)

    def _keep(self, record: Record) -> Record:
        self._records[record["cell"], record["seed"]] = record
        return record


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over seeds; 0 for a single one."""

    mean: float
    std: float
    n: int


def spread(records: Sequence[Record], value: Callable[[Record], float]) -> Spread:
    """The spread of a value over records.

    >>> spread([{"x": 1.0}, {"x": 3.0}], lambda r: r["x"])
    Spread(mean=2.0, std=1.4142135623730951, n=2)
    """
    values = [value(record) for record in records]
    return Spread(fmean(values), stdev(values) if len(values) > 1 else 0.0, len(values))


def matching(records: Sequence[Record], cell: str) -> list[Record]:
    """The records of one cell over all seeds."""
    return [record for record in records if record["cell"] == cell]
