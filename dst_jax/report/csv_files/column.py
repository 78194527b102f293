"""A CSV file as data: what its rows are made of, and what its columns hold."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dst_jax.report.run_results import RunResults
from dst_jax.report.task_records import TaskRecord

__all__ = ["CsvColumn", "CsvFile", "part"]


@dataclass(frozen=True)
class CsvColumn:
    """A column of a CSV file.

    Attributes:
      name: its heading.
      unit: unit of its numbers; "count" is an exact integer, "share" is in [0, 1];
        empty for words.
      meaning: what it holds.
      value: function of what a row is made of to the cell.
    """

    name: str
    unit: str
    meaning: str
    value: Callable[..., Any]


@dataclass(frozen=True)
class CsvFile:
    """A CSV file.

    Attributes:
      name: its name without `.csv`.
      columns: function of the task to the columns after `run`.
      items: function of a run to what its rows are made of.
    """

    name: str
    columns: Callable[[TaskRecord], tuple[CsvColumn, ...]]
    items: Callable[[RunResults], Iterator[tuple[Any, ...]]]


def part(position: int) -> Callable[..., Any]:
    """A function that returns one of its arguments.

    Args:
      position: position of the argument.

    >>> part(1)("conv1", 8)
    8
    """
    return lambda *item: item[position]
