"""From a command line to a comparison of methods and its table."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dst_jax import train
from dst_jax.report.terminal import show
from dst_jax.runs import Run
from dst_jax.train import Stage
from experiments import build
from experiments.command import parse, refuse_another, status
from experiments.comparison.cells import evaluate_on_test
from experiments.comparison.records import Record, Records
from experiments.comparison.tables import markdown
from experiments.config import nested
from experiments.init import init_weights
from experiments.sparse import cells as training
from experiments.sparse import tables
from experiments.sparse.options import FREE, Cell, SparseTraining, base, checked

__all__ = ["main"]


def main(
    presets: Mapping[str, SparseTraining], *, doc: str, argv: list[str] | None = None
) -> int:
    """Runs or continues a comparison; returns the exit status.

    Args:
      presets: options by name; those on the command line override.
      doc: shown by `--help`.
      argv: the arguments; the command line's by default.
    """
    argv = sys.argv[1:] if argv is None else argv
    prog = "python -m experiments.sparse_training"
    options = parse(presets, argv, prog=prog, doc=doc)
    out = Path(options.dir or f"runs/sparse_training-{options.preset}").absolute()

    def plan() -> list[tuple[Cell, Stage]]:
        cells = [(cell, training.stage_of(cell, options)) for cell in checked(options)]
        build.rehearse(base(options), [stage for _, stage in cells])
        return cells

    def work(cells: list[tuple[Cell, Stage]]) -> None:
        _run(options, cells, Run(out), command=f"{prog} {shlex.join(argv)}".strip())

    return status(plan, work, out)


def _run(
    options: SparseTraining,
    cells: Sequence[tuple[Cell, Stage]],
    run: Run,
    *,
    command: str,
) -> None:
    resumed = refuse_another(options, run, free=FREE)
    console = train.Console()
    context = build.build_context(base(options), run, console)
    init = init_weights(base(options), context)
    stages = [stage for _, stage in cells]
    training.rehearse(context, stages)
    if not resumed:
        made = {"config": nested(options), "command": command}
        run.write_config(made | train.records.provenance())
    records, tests = Records(run.path / "cells.jsonl"), Records(run.path / "test.jsonl")
    accumulate = options.optim.accumulate
    training.train_cells(
        context, cells, options.seeds, records, accumulate=accumulate, init=init
    )
    evaluate_on_test(context, stages, options.seeds, tests)
    console.finish()
    names = [cell.name for cell, _ in cells]
    rows = tables.rows(
        names,
        _of(records, names, options.seeds),
        _of(tests, names, options.seeds),
    )
    console.say(f"report: {_write(run.path, rows)}")


def _write(out: Path, rows: list[dict[str, Any]]) -> Path:
    """Prints the table; writes it as report.md and table.jsonl."""
    table = tables.table(rows)
    (out / "table.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = out / "report.md"
    path.write_text(f"# Methods of sparse training compared\n\n{markdown(table)}")
    show(table)
    return path


def _of(records: Records, names: list[str], seeds: Sequence[int]) -> list[Record]:
    """Those that are asked for: a directory may hold more methods and seeds."""
    found = [records.get(name, seed) for name in names for seed in seeds]
    return [record for record in found if record is not None]
