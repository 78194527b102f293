"""The sparsest network that an accelerator and a budget allow, from a finished run.

Measures on training images what every option of every layer loses and costs: densities
and patterns of its weights, thresholds and patterns of the map it reads. Chooses one
option per layer (dst_jax.allocation) along a front of budgets, measures the chosen
network again, and with --epochs trains it: weights first, then with what was chosen for
maps, in a run of its own. The test set is read at the end alone.

COMMAND
  python -m experiments.allocate RUN_DIR --accelerator scnn
  python -m experiments.allocate RUN_DIR --accelerator scnn --budget-accuracy 0.5
  python -m experiments.allocate RUN_DIR --accelerator eyeriss_v2 --cost energy \
    --budget 0.4 --epochs 3
  python -m experiments.allocate RUN_DIR --accelerator tensor_core_2_4 \
    --weights 2:4 --activations 2:4
  python -m experiments.allocate RUN_DIR --accelerator scnn --budget 0.4 --rule erk \
    --epochs 3                                           the same cost by ERK

FILES
  RUN_DIR/allocation/NAME.json   tables, front, choice, predictions and measurements
  RUN_DIR-NAME                   the run that --epochs trains; the same command resumes
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.options.annotations import (
    AT_LEAST_1,
    MOST_EPOCHS,
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    check_ranges,
)
from experiments.options.texts import about
from experiments.running.command_line import parse, status
from experiments.running.finished_run_options import FinishedRunOptions, StageName

if TYPE_CHECKING:
    from dst_jax.cost.accelerators import Accelerator

__all__ = ["Cost", "Options", "Rule", "allocate", "checked", "main"]

Cost = Literal["cycles", "energy", "bytes", "multiplications"]
Rule = Literal["allocation", "uniform", "erk", "global", "threshold"]


@dataclass(frozen=True)
class Options(FinishedRunOptions):
    """Which run, which accelerator, which budget, and what may be chosen."""

    accelerator: str = "scnn"
    """A preset of dst_jax.cost.accelerators, MODULE:ATTRIBUTE, or a YAML file."""
    cost: Cost = "cycles"
    """What the budget is of: the accelerator's cycles, energy or DRAM traffic, or
    products of two nonzeros."""
    budget: Annotated[float, Range("in (0, 1]", lambda x: 0 < x <= 1)] = 0.5
    """Share of what the network costs now that the chosen one may cost."""
    budget_accuracy: Annotated[float | None, NOT_NEGATIVE] = None
    """In place of `budget`: points of hold-out accuracy that may be lost before any
    training."""
    rule: Rule = "allocation"
    """An option per layer; or, to compare: one sparsity of all layers, ERK densities,
    the smallest weights of all layers, one threshold for all maps."""
    solver: Literal["lagrangian", "exact", "greedy"] = "lagrangian"
    """Solver of the allocation."""
    weights: tuple[str, ...] = (
        *("0.8", "0.65", "0.5", "0.4", "0.3", "0.2", "0.15", "0.1", "0.05"),
    )
    """Options of weights: densities, N:M, or STRUCTURE=DENSITY such as
    channel_out=0.5; a layer also stays as it is."""
    activations: tuple[str, ...] = ("0.25", "0.5", "0.75", "0.9")
    """Options of maps: shares of the positive entries that a threshold makes 0, or N:M,
    such as 2:4, for N of every M channels; a map also stays as it is."""
    examples: Annotated[int, AT_LEAST_1] = 512
    """Training images that losses are measured on."""
    images: Annotated[int, AT_LEAST_1] = 8
    """Training images that costs are the mean of."""
    rounds: Annotated[int, AT_LEAST_1] = 3
    """How often losses are measured, each time from the choice before: under a budget
    that falls to the given one, and at the end once more under it."""
    points: Annotated[int, Range("at least 2", lambda x: x >= 2)] = 41
    """Budgets of the front."""
    stage: StageName = None
    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 0
    """Epochs of training with the masks, and as many more with the thresholds and the
    patterns; twice as many with one of them where the other is not chosen; 0 trains
    nothing."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate of both."""
    strength: Annotated[float, NOT_NEGATIVE] = 0.0
    """Strength of Transformed l1 on the maps while the thresholds act."""
    strengths: Literal["equal", "cost"] = "equal"
    """Whether it is equal on all maps, or weighed by what a nonzero of a map costs."""
    dir: str | None = None
    """Directory of the run that is trained; RUN_DIR-NAME if not given."""
    test: bool = True
    """Whether to end with the test set on the network that was chosen; the stages of
    `epochs` end with it in any case."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none", "--budget", "0"])
    2
    """
    options = parse(Options, argv, name="allocate", doc=__doc__)
    given = sys.argv[1:] if argv is None else argv

    def work(machine: "Accelerator") -> None:
        allocate(options, machine, argv=given)

    return status(lambda: checked(options), work)


def checked(options: Options) -> "Accelerator":
    """The accelerator, once all options are found to be right.

    Args:
      options: options of the command.

    Raises:
      ValueError: an option is out of range, or two contradict each other.

    >>> checked(Options("runs/none", accelerator="tpu9"))
    Traceback (most recent call last):
    ValueError: --accelerator: accelerator must be one of ('dense', ...
    """
    from dst_jax.cost import accelerators
    from dst_jax.train import per_layer

    check_ranges(options)
    if options.budget_accuracy is not None and options.rule != "allocation":
        raise ValueError(
            "--budget-accuracy is for --rule allocation, which has a front, got"
            f" {options.rule}"
        )
    by_cost = options.strengths == "cost"
    if by_cost and (options.rule != "allocation" or not options.strength):
        raise ValueError(
            "--strengths cost is for --rule allocation and a --strength above 0, got"
            f" {options.rule} and {options.strength}"
        )
    with about("--weights"):
        for text in options.weights:
            per_layer.weight_option(text)
    with about("--activations"):
        for text in options.activations:
            per_layer.share_or_pattern(text)
    with about("--accelerator"):
        return accelerators.create(options.accelerator)


def allocate(
    options: Options, machine: "Accelerator", *, argv: list[str], details: bool = True
) -> None:
    """Chooses the options of a run's layers, and trains them if that is asked for.

    Args:
      options: options of the command.
      machine: the accelerator.
      argv: the command line's arguments, for the record of what is trained.
      details: whether to print every layer and the front too.

    Raises:
      ValueError: it is no finished run, an option does not fit it, or no network meets
        the budget.
    """
    from experiments.running import allocated_run, allocation_tables
    from experiments.running.allocation_choice import chosen
    from experiments.running.allocation_record import record, show

    opened = allocation_tables.opened(options, machine)
    with opened.context.run.lock():
        found = chosen(opened, options)
        written = record(opened, options, found)
        opened.write(written)
    if details:
        show(opened, written)
    if options.epochs:
        written |= {"trained": allocated_run.trained(opened, options, found, argv)}
        with opened.context.run.lock():
            opened.write(written)
        show(opened, written, trained=True)


if __name__ == "__main__":
    sys.exit(main())
