"""Reports of runs: in the terminal, as one HTML file, several side by side.

    report.show([run_dir])               tables in the terminal
    report.write(run_dir)                RUN_DIR/report.html and RUN_DIR/figures/
    report.compare(run_dirs, output)     OUTPUT/comparison.html and OUTPUT/figures/
    report.write_csv(run_dirs, output)   OUTPUT/*.csv: every table, in exact numbers
    report.load(run_dir)                 the results as a value

Everything is read from the run directories that `dst_jax.runs` describes. The same
run gives the same bytes.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dst_jax.report import csv_files, pages, terminal
from dst_jax.report.figures import OF_A_RUN, OF_SEVERAL_RUNS
from dst_jax.report.figures.figure import ReportFigure, drawn
from dst_jax.report.load import load

__all__ = ["compare", "load", "show", "write", "write_csv"]

StrPath = str | os.PathLike[str]


def write(run_dir: StrPath) -> Path:
    """Writes RUN_DIR/report.html and RUN_DIR/figures/*.png.

    A run that is not finished is reported as far as it got, and marked.

    Args:
      run_dir: a run with at least one finished stage.

    Returns:
      The path of report.html.

    Raises:
      FileNotFoundError: no such run, or none of its stages is finished.
      ValueError: a file of the run cannot be read as what it should be.
    """
    run = load(run_dir)
    figures = drawn(OF_A_RUN, run)
    return _save(run.path / "report.html", pages.run_page(run, figures), figures)


def compare(run_dirs: Sequence[StrPath], output: StrPath) -> Path:
    """Writes OUTPUT/comparison.html and OUTPUT/figures/comparison_*.png.

    Runs whose settings differ in the seed only are also averaged.

    Args:
      run_dirs: runs, each with at least one finished stage.
      output: a directory, made if it is not there.

    Returns:
      The path of comparison.html.

    Raises:
      FileNotFoundError: as in `write`.
      ValueError: as in `write`; or no run, or the same run twice.
    """
    if not run_dirs:
        raise ValueError("run_dirs is empty: at least one run is needed")
    runs = [load(run_dir) for run_dir in run_dirs]
    figures = drawn(OF_SEVERAL_RUNS, runs)
    page = pages.comparison_page(runs, figures)
    return _save(Path(output) / "comparison.html", page, figures)


def write_csv(run_dirs: Sequence[StrPath], output: StrPath) -> list[Path]:
    """Writes OUTPUT/*.csv: every table of the reports, and of several runs together.

    Counts are exact integers; OUTPUT/columns.csv has the unit and the meaning of every
    column.

    Args:
      run_dirs: runs, each with at least one finished stage.
      output: a directory, made if it is not there.

    Returns:
      The paths of the files.

    Raises:
      FileNotFoundError, ValueError: as in `compare`.
    """
    if not run_dirs:
        raise ValueError("run_dirs is empty: at least one run is needed")
    runs = [load(run_dir) for run_dir in run_dirs]
    return csv_files.write_files(runs, Path(output))


def show(run_dirs: Sequence[StrPath], console: Console | None = None) -> None:
    """Prints the tables of one run, or of several side by side.

    Args:
      run_dirs: runs, each with at least one finished stage.
      console: console to print to; standard output by default.

    Raises:
      FileNotFoundError, ValueError: as in `compare`.
    """
    if not run_dirs:
        raise ValueError("run_dirs is empty: at least one run is needed")
    terminal.print_runs([load(run_dir) for run_dir in run_dirs], console or Console())


def _save(path: Path, page: str, figures: Mapping[ReportFigure[Any], bytes]) -> Path:
    directory = path.parent / "figures"
    directory.mkdir(parents=True, exist_ok=True)
    for figure, png in figures.items():
        (directory / f"{figure.name}.png").write_bytes(png)
    path.write_text(page, encoding="utf-8")
    return path
