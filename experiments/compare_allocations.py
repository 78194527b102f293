"""Allocation against one rule for all layers, at the same cost, over several runs.

From every finished run and on every accelerator, a network of the same cost by
allocation, uniform sparsity, ERK, global magnitude and one threshold for all maps; each
is evaluated on the test set before and after training. The same command continues a
comparison that was stopped; runs, accelerators and rules can be added.

COMMAND
  python -m experiments.compare_allocations RUN_SEED0 RUN_SEED1 RUN_SEED2 \
    --accelerators scnn eyeriss_v2 --budget 0.5 --epochs 5

FILES
  RUN/allocation/NAME.json   each choice, as experiments.allocate writes it
  RUN-NAME                   each network that is trained
"""

import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_args

import tyro

from experiments.allocate import Cost, Rule, allocate, checked
from experiments.allocate import Options as AllocateOptions
from experiments.options.annotations import (
    MOST_EPOCHS,
    POSITIVE,
    Range,
    check_ranges,
)
from experiments.running.command_line import parse, status

__all__ = ["Options", "main"]


@dataclass(frozen=True)
class Options:
    """Which runs, which accelerators, which budget."""

    run_dirs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Finished runs, such as those of several seeds."""
    accelerators: tuple[str, ...] = ("scnn", "eyeriss_v2")
    """Presets of dst_jax.cost.accelerators, MODULE:ATTRIBUTE, or YAML files."""
    rules: tuple[Rule, ...] = get_args(Rule)
    """Rules of --rule of experiments.allocate."""
    cost: Cost = AllocateOptions.cost
    """Cost of --cost of experiments.allocate."""
    budget: Annotated[float, Range("in (0, 1]", lambda x: 0 < x <= 1)] = 0.5
    """Share of what the network costs now that the others may cost."""
    weights: tuple[str, ...] = AllocateOptions.weights
    """Options of weights for the allocation."""
    activations: tuple[str, ...] = AllocateOptions.activations
    """Options of maps for the allocation."""
    examples: int = AllocateOptions.examples
    """Training images that losses are measured on."""
    rounds: int = AllocateOptions.rounds
    """How often the allocation measures losses."""
    epochs: Annotated[float, POSITIVE, MOST_EPOCHS] = 5
    """Epochs of each stage of training."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none", "--budget", "2"])
    2
    """
    options = parse(Options, argv, name="compare_allocations", doc=__doc__)
    given = sys.argv[1:] if argv is None else argv

    def plan() -> list[AllocateOptions]:
        check_ranges(options)
        cells = list(_cells(options))
        for cell in cells:
            checked(cell)
        return cells

    def work(cells: Sequence[AllocateOptions]) -> None:
        for cell in cells:
            if _record(cell) is None:
                _run(cell, given)
        _show(options, cells)

    return status(plan, work)


def _cells(options: Options) -> Iterator[AllocateOptions]:
    """Every run on every accelerator by every rule."""
    for run_dir in options.run_dirs:
        for accelerator in options.accelerators:
            for rule in options.rules:
                yield AllocateOptions(
                    run_dir,
                    accelerator=accelerator,
                    rule=rule,
                    cost=options.cost,
                    budget=options.budget,
                    weights=options.weights,
                    activations=options.activations,
                    examples=options.examples,
                    rounds=options.rounds,
                    epochs=options.epochs,
                    lr=options.lr,
                )


def _run(cell: AllocateOptions, argv: list[str]) -> None:
    """A cell; one whose rule does not reach the budget has no network."""
    from dst_jax.runs import Run, write_allocation
    from experiments.running.config_record import nested

    print(f"{cell.run_dir}: {cell.rule} on {cell.accelerator}")
    try:
        allocate(cell, checked(cell), argv=argv, details=False)
    except ValueError as error:
        if not str(error).startswith(("budget must be", "--budget must be")):
            raise
        print(f"  {error}")
        record = {"options": nested(cell), "trained": None, "why": str(error)}
        write_allocation(Run(cell.run_dir), _name(cell), record)


def _record(cell: AllocateOptions) -> dict[str, Any] | None:
    """The record of a cell that has been run to its end with these options."""
    from dst_jax.runs import Run, read_allocation
    from experiments.running.config_record import nested
    from experiments.running.finished_run import stage_names

    if not stage_names(Run(cell.run_dir)):
        return None
    found = read_allocation(Run(cell.run_dir), _name(cell))
    if found is None or "trained" not in found or found["options"] != nested(cell):
        return None
    return found


def _name(cell: AllocateOptions) -> str:
    from dst_jax.runs import Run
    from experiments.running.allocation_tables import name_of
    from experiments.running.finished_run import stage_names

    return name_of(cell, stage_names(Run(cell.run_dir))[-1])


def _show(options: Options, cells: Sequence[AllocateOptions]) -> None:
    from dst_jax.report.tables.table import Table
    from dst_jax.report.terminal import show

    records = [(cell, _record(cell)) for cell in cells]
    rows = []
    for accelerator in options.accelerators:
        for rule in options.rules:
            found = [
                record
                for cell, record in records
                if (cell.accelerator, cell.rule) == (accelerator, rule)
            ]
            reached = [record for record in found if record and record["trained"]]
            rows.append((accelerator, rule, *_row(reached, len(found))))
    headings = ("accelerator", "rule", f"{options.cost} %", "before", "after", "runs")
    note = "Test set, mean and deviation over the runs, before training and after."
    show(Table("at the same cost", headings, tuple(rows), note=note, words=2))


def _row(reached: Sequence[Mapping[str, Any]], runs: int) -> tuple[str, ...]:
    from dst_jax.report.task_records import task_record

    if not reached:
        return ("not reached", "-", "-", f"0 of {runs}")
    shares = [
        record["trained"]["cost"] / record["before"]["cost"] for record in reached
    ]
    best = task_record(reached[0]["trained"]["test"]).best
    before = [best.scale * record["test"]["chosen"][best.name] for record in reached]
    after = [best.scale * record["trained"]["test"][best.name] for record in reached]
    return (
        f"{100 * statistics.fmean(shares):.1f}",
        _spread(before),
        _spread(after),
        f"{len(reached)} of {runs}",
    )


def _spread(values: Sequence[float]) -> str:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.2f} ± {spread:.2f}"


if __name__ == "__main__":
    sys.exit(main())
