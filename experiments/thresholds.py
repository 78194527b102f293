"""A finished run with its ReLUs made FATReLUs: more zeros within a budget of accuracy.

Layer by layer the largest threshold is searched at which the hold-out has lost no more
than the budget (Kurtz et al. 2020); nothing is trained. The test set is read at the
end, without and with the thresholds.

COMMAND
  python -m experiments.thresholds RUN_DIR --budget 0.1

Writes RUN_DIR/thresholds/STAGE.json. `activations.with_thresholds(variables, found)`
puts the thresholds into a network.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments.options.annotations import AT_LEAST_1, Range, at_most, check_ranges
from experiments.running.command_line import parse, status
from experiments.running.finished_run_options import FinishedRunOptions, StageName

if TYPE_CHECKING:
    from dst_jax.train import Context
    from dst_jax.typing import Network
    from experiments.running.quality import Quality

__all__ = ["Options", "main"]


@dataclass(frozen=True)
class Options(FinishedRunOptions):
    """Which run, and how far to go."""

    stage: StageName = None
    budget: Annotated[float, Range(">= 0", lambda x: x >= 0)] = 0.1
    """Points of hold-out accuracy that may be lost, over all layers."""
    kind: Literal["hard", "soft"] = "hard"
    """FATReLU, or the ReLU shifted by the threshold."""
    bisections: Annotated[int, AT_LEAST_1, at_most(30)] = 6
    """Evaluations of the hold-out per layer."""
    percentile: Annotated[float, Range("in (0, 100)", lambda x: 0 < x < 100)] = 99.0
    """Percentile of a layer's entries on one hold-out batch: the largest threshold
    tried."""
    images: Literal["all", "half"] = "all"
    """Hold-out images of the search: all of them, or every second one; the others then
    say what the thresholds lose on images that they were not chosen on."""
    test: bool = True
    """Whether to end with the test set; without it, budgets can be compared first."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none", "--budget", "-1"])
    2
    """
    options = parse(Options, argv, name="thresholds", doc=__doc__)
    return status(partial(check_ranges, options), lambda _: _search(options))


def _search(options: Options) -> None:
    from experiments.running import finished_run
    from experiments.running.quality import quality_of

    context = options.reopen()
    stage = finished_run.stage_of(context.run, options.stage)
    with context.run.lock():
        network = finished_run.network_at_end(context, stage)
        record = _record(context, network, options)
        context.run.write_thresholds(stage, record)
    _show(stage, record, quality_of(context.task))


def _record(context: "Context", network: "Network", options: Options) -> dict[str, Any]:
    """What the search finds, and the splits without and with it."""
    from dst_jax import train
    from experiments.running import fat_relu

    chosen_on = held_out = fat_relu.holdout(context)
    if options.images == "half":
        chosen_on, held_out = fat_relu.halves(held_out)
    found = fat_relu.search(
        context,
        network,
        budget=options.budget,
        kind=options.kind,
        bisections=options.bisections,
        percentile=options.percentile,
        split=chosen_on,
    )
    changed = fat_relu.put_on(network, found.thresholds, kind=options.kind)
    splits = {"holdout": held_out}
    if options.test:
        splits["test"] = context.dataset.test
    return {
        "kind": options.kind,
        "budget": options.budget,
        "images": options.images,
        "thresholds": found.thresholds,
        **{
            split: {
                when: train.records.row(when, context.evaluate(w, examples, count=True))
                for when, w in (("without", network), ("with", changed))
            }
            for split, examples in splits.items()
        },
    }


def _show(stage: str, record: Mapping[str, Any], quality: "Quality") -> None:
    from dst_jax.report.tables.table import Table, percent
    from dst_jax.report.terminal import show

    rows = [
        (
            {"holdout": "hold-out"}.get(split, split),
            when,
            quality.text(quality(row)),
            percent(row["activation_sparsity"]["element"]),
            percent(row["flops_drop"]["dense"]),
        )
        for split in ("holdout", "test")
        for when, row in record.get(split, {}).items()
    ]
    shares = ("activation sparsity %", "FLOPs drop %")
    headings = ("images", "thresholds", quality.metric.heading, *shares)
    show(Table(stage, headings, tuple(rows), words=2))
    for name, t in record["thresholds"].items():
        print(f"  {name}: {t:.4g}")


if __name__ == "__main__":
    sys.exit(main())
