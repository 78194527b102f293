"""Every table of a report as CSV, with the numbers as they were recorded.

Counts are exact integers, shares are in [0, 1], and an empty cell says that there is no
such number. What a table of the report derives from two numbers is left to the reader.
"""

import csv
import io
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from dst_jax.report.csv_files.column import CsvColumn, CsvFile, part
from dst_jax.report.csv_files.layer_columns import LAYER_FILES
from dst_jax.report.csv_files.measured_columns import MEASURED_FILES
from dst_jax.report.csv_files.stage_columns import SMALLER_NETWORKS, STAGES, measured
from dst_jax.report.run_results import RunResults
from dst_jax.report.tables import comparison
from dst_jax.report.tables.run_facts import facts, settings
from dst_jax.report.task_records import TaskRecord, shared_task, task_record
from dst_jax.runs import write_text

__all__ = ["columns", "contents", "write_files"]

_RUN = CsvColumn("run", "", "shortest path that tells the runs apart", part(0))
_SEEDS = (
    CsvColumn("runs", "", "runs that differ in the seed only", part(0)),
    CsvColumn("title", "", "words for the stage", part(1)),
    CsvColumn("n", "count", "number of runs", part(2)),
    CsvColumn("column", "", "column of stages.csv", part(3)),
    CsvColumn("mean", "that column's", "mean over the runs", part(4)),
    CsvColumn("deviation", "that column's", "sample standard deviation", part(5)),
)
_DIFFERENCES = (
    CsvColumn("setting", "", "setting that is not the same in all runs", part(0)),
    CsvColumn("run", "", "the run", part(1)),
    CsvColumn("value", "", "its value", part(2)),
)
_FACTS = (
    CsvColumn("fact", "", "what is recorded of the run", part(0)),
    CsvColumn("value", "", "as text", part(1)),
)
_SETTINGS = (
    CsvColumn("setting", "", "dotted name of the setting", part(0)),
    CsvColumn("value", "", "as text", part(1)),
)
FILES = (
    STAGES,
    SMALLER_NETWORKS,
    *LAYER_FILES,
    *MEASURED_FILES,
    CsvFile("run", lambda task: _FACTS, lambda run: iter(facts(run).rows)),
    CsvFile("settings", lambda task: _SETTINGS, lambda run: iter(settings(run).rows)),
)
"""The files of every run, in the order of the report."""
_COLUMNS = ("file", "column", "unit", "meaning")


def write_files(runs: Sequence[RunResults], directory: Path) -> list[Path]:
    """Writes the files into a directory; returns their paths.

    Args:
      runs: the runs, at least one, of one task.
      directory: the directory, made if it is not there.

    Raises:
      ValueError: the tasks of the runs differ, or a run is given twice.
    """
    return [
        _written(directory / f"{name}.csv", rows)
        for name, rows in contents(runs).items()
    ]


def contents(runs: Sequence[RunResults]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of every file, its heading first.

    Args:
      runs: the runs, at least one, of one task.

    Raises:
      ValueError: the tasks of the runs differ, or a run is given twice.

    >>> from dst_jax.report.run_results import Products, StageResults
    >>> fc = Products(4000, 4000, 2000, 1600, 800)
    >>> stage = StageResults("a", "pruned", {"top1": 0.9}, 8, products={"fc": fc})
    >>> contents([RunResults(Path("run"), (stage,))])["multiplications"][1]
    ('run', 'a', 'fc', 8, 4000, 4000, 2000, 1600, 800)
    """
    task = shared_task([run.task for run in runs])
    names = comparison.run_names(runs)
    found = {
        file.name: [
            _names((_RUN, *file.columns(task))),
            *(
                (name, *(column.value(*item) for column in file.columns(task)))
                for name, run in zip(names, runs, strict=True)
                for item in file.items(run)
            ),
        ]
        for file in FILES
    }
    if len(runs) > 1:
        found["seeds"] = [_names(_SEEDS), *_seeds(runs, task)]
        found["differences"] = [_names(_DIFFERENCES), *_differences(runs)]
    rows = columns(task, several=len(runs) > 1)
    return found | {"columns": [_COLUMNS, *rows]}


def columns(
    task: TaskRecord | None = None, *, several: bool = True
) -> list[tuple[str, str, str, str]]:
    """File, name, unit and meaning of every column.

    Args:
      task: task of the runs; classification by default.
      several: whether those of a comparison of several runs too.

    >>> [row[1] for row in columns() if row[0] == "weights.csv"]
    ['run', 'stage', 'kernel', 'zeros', 'elements', 'sparsity', 'shape']
    """
    task = task_record({}) if task is None else task
    found = {file.name: (_RUN, *file.columns(task)) for file in FILES}
    if several:
        found |= {"seeds": _SEEDS, "differences": _DIFFERENCES}
    return [
        (f"{name}.csv", column.name, column.unit, column.meaning)
        for name, own in found.items()
        for column in own
    ]


def _names(own: Iterable[CsvColumn]) -> tuple[str, ...]:
    return tuple(column.name for column in own)


def _seeds(runs: Sequence[RunResults], task: TaskRecord) -> Iterator[tuple[Any, ...]]:
    """Means of the runs that share all settings but the seed."""
    names = comparison.run_names(runs)
    for group in comparison.same_but_seed(runs):
        label = ", ".join(names[i] for i in group)
        same = [runs[i] for i in group]
        for title in comparison.stage_titles(same):
            own = [(s, run) for run in same for s in run.stages if s.title == title]
            for column in measured(task):
                values = [column.value(*item) for item in own]
                if any(value is None or math.isnan(value) for value in values):
                    continue
                spread = statistics.stdev(values) if len(values) > 1 else None
                mean = statistics.fmean(values)
                yield label, title, len(values), column.name, mean, spread


def _differences(runs: Sequence[RunResults]) -> Iterator[tuple[str, str, str]]:
    table = comparison.differences(runs)
    for setting, *values in table.rows:
        for name, value in zip(table.headings[1:], values, strict=True):
            yield setting, name, value


def _written(path: Path, rows: Iterable[tuple[Any, ...]]) -> Path:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows(map(_cell, row) for row in rows)
    write_text(path, text.getvalue())
    return path


def _cell(value: Any) -> Any:
    """What the CSV writer makes of a value; nothing of a number that is missing."""
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if missing else value
