"""Runs a comparison: trains what is missing, tests what is chosen, reports."""

import abc
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from dst_jax import train
from dst_jax.runs import Run
from dst_jax.train import Context, Stage
from dst_jax.typing import Network
from experiments.grid.cells import Ends, evaluate_on_test, of_seed, rehearse
from experiments.grid.options import GridOptions
from experiments.grid.records import CellRecords, Record
from experiments.running.config_record import nested, refuse_another

__all__ = ["Comparison", "run", "train_cells"]


class Comparison(abc.ABC):
    """What is compared, what is measured and what is reported.

    Attributes:
      cells: what is trained for every seed; the first is the baseline of the others.
    """

    cells: Sequence[Stage]

    @abc.abstractmethod
    def measure(
        self, context: Context, cell: Stage, network: Network, ends: Ends
    ) -> dict[str, Any]:
        """What the hold-out says of a cell's end, and what the cell is.

        Args:
          context: the seed's context.
          cell: the cell.
          network: the network at its end.
          ends: the networks at the other cells' ends.
        """

    @abc.abstractmethod
    def line(self, record: Record) -> str:
        """What is printed of a cell's record."""

    @abc.abstractmethod
    def tested(self, records: Sequence[Record]) -> list[Stage]:
        """The cells that the test set is read for, the baseline first; none if empty.

        Args:
          records: the records of all cells.
        """

    @abc.abstractmethod
    def report(
        self, run: Run, records: Sequence[Record], tests: Sequence[Record]
    ) -> Path:
        """Prints and writes what was found; returns the path of the report.

        Args:
          run: the comparison's directory.
          records: the records of all cells.
          tests: the test set on the cells that were tested.
        """


def run(
    options: GridOptions,
    comparison: Comparison,
    directory: Path,
    *,
    command: str,
    note: str = "",
) -> None:
    """Runs a comparison, or goes on with it.

    Args:
      options: its options.
      comparison: what they ask for.
      directory: where everything is written.
      command: the command line, for the record.
      note: a line that is said of the data before training; none if empty.

    Raises:
      ValueError: the directory holds another comparison, another process writes in it,
        or a cell does not fit.
      Interrupted, NonFiniteLoss: as in `train_cells`.
    """
    record = Run(directory)
    with record.lock():
        _run(options, comparison, record, command=command, note=note)


def _run(
    options: GridOptions,
    comparison: Comparison,
    record: Run,
    *,
    command: str,
    note: str,
) -> None:
    resumed = refuse_another(options, record)
    console = train.Console()
    base = options.base()
    context = base.context(record, console)
    if note:
        console.say(note)
    init = base.init.network(base, context)
    rehearse(context, comparison.cells)
    if not resumed:
        made = {"config": nested(options), "command": command}
        record.write_config(made | train.records.provenance())
    records = CellRecords(record.path / "cells.jsonl")
    tests = CellRecords(record.path / "test.jsonl")
    seeds = options.seeds
    train_cells(context, comparison, seeds, records, init=init)
    found = records.of(_names(comparison.cells), seeds)
    tested = comparison.tested(found)
    evaluate_on_test(context, tested, seeds, tests)
    console.finish()
    path = comparison.report(record, found, tests.of(_names(tested), seeds))
    console.say(f"report: {path}")


def train_cells(
    context: Context,
    comparison: Comparison,
    seeds: Collection[int],
    records: CellRecords,
    *,
    init: Network | None = None,
) -> None:
    """Trains every cell that has no record yet, and records what the hold-out says.

    Args:
      context: model, data, devices; every seed has a run directory of its own in it.
      comparison: what is trained and measured.
      seeds: seeds of initialisation, data order and random choices.
      records: what is finished.
      init: network that trainings from scratch start from; a fresh one of the seed if
        None.

    Raises:
      Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
      NonFiniteLoss: names the cell; the cells before it are on record.
    """
    events = train.TensorBoard(str(context.run.path / "tensorboard"), enabled=False)
    with train.Interrupt() as interrupt:
        for seed in seeds:
            missing = [
                cell
                for cell in comparison.cells
                if records.get(cell.name, seed) is None
            ]
            if not missing:
                continue
            own = of_seed(context, seed)
            ends = Ends(
                own, comparison.cells, interrupt=interrupt, events=events, init=init
            )
            for cell in missing:
                found = comparison.measure(own, cell, ends(cell.name), ends)
                record = {"cell": cell.name, "seed": seed, **found, **_cost(own, cell)}
                records.add(record)
                said = comparison.line(record)
                own.console.say(f"seed {seed}, {cell.name}: {said}")


def _cost(context: Context, cell: Stage) -> dict[str, Any]:
    throughput = train.records.throughput(
        context.run.read_metrics(), cell.name, batch_size=context.batch_size
    )
    return {"epochs": cell.epochs, **throughput}


def _names(cells: Sequence[Stage]) -> list[str]:
    return [cell.name for cell in cells]
