"""A finished run with its ReLUs made FATReLUs: more zeros within a budget of accuracy.

Layer by layer the largest threshold is searched at which the hold-out has lost no more
than the budget (Kurtz et al. 2020); nothing is trained. The test set is read at the
end, without and with the thresholds.

COMMAND
  python -m experiments.thresholds RUN_DIR --budget 0.1

Writes RUN_DIR/thresholds/STAGE.json. `activations.with_thresholds(variables, found)`
puts the thresholds into a network.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from dst_jax import train
from dst_jax.report.tables.table import Table, percent
from dst_jax.report.terminal import show
from dst_jax.train import Context, Stage
from dst_jax.typing import Network
from experiments import fat_relu, finished

__all__ = ["Options", "main"]


@dataclass(frozen=True)
class Options:
    """Which run, and how far to go."""

    run_dir: Annotated[str, tyro.conf.Positional]
    """A finished run."""
    stage: str | None = None
    """Whose network; the last stage's if not given."""
    budget: float = 0.1
    """Points of hold-out accuracy that may be lost, over all layers."""
    kind: fat_relu.Kind = "hard"
    """FATReLU, or the ReLU shifted by the threshold."""
    bisections: int = 6
    """Evaluations of the hold-out per layer."""
    percentile: float = 99.0
    """Of a layer's entries on one hold-out batch: the largest threshold tried."""
    test: bool = True
    """Whether to end with the test set; without it, budgets can be compared first."""
    data_dir: str | None = None
    """Where prepared data sets lie, if not where the run had them."""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = tyro.cli(
        Options,
        args=argv,
        prog="python -m experiments.thresholds",
        description=__doc__,
    )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        _check(options)
        context, stages = finished.reopen(options.run_dir, data_dir=options.data_dir)
        stage = _stage(options, stages)
        record = _record(context, finished.weights_of(context, stage), options)
        context.run.write_thresholds(stage.name, record)
        _show(stage.name, record)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _check(options: Options) -> None:
    if not options.budget >= 0:
        raise ValueError(f"--budget must be >= 0, got {options.budget}")
    if options.bisections < 1:
        raise ValueError(f"--bisections must be at least 1, got {options.bisections}")
    if not 0 < options.percentile < 100:
        raise ValueError(f"--percentile must be in (0, 100), got {options.percentile}")


def _stage(options: Options, stages: Sequence[Stage]) -> Stage:
    last = {stage.name: stage for stage in stages}
    name = list(last)[-1] if options.stage is None else options.stage
    if name not in last:
        raise ValueError(f"--stage must be one of {tuple(last)}, got {name!r}")
    return last[name]


def _record(context: Context, weights: Network, options: Options) -> dict[str, Any]:
    """What the search finds, and the splits without and with it."""
    found = fat_relu.search(
        context,
        weights,
        budget=options.budget,
        kind=options.kind,
        bisections=options.bisections,
        percentile=options.percentile,
    )
    changed = fat_relu.put_on(weights, found.thresholds, kind=options.kind)
    splits = {"holdout": fat_relu.holdout(context)}
    if options.test:
        splits["test"] = context.dataset.test
    return {
        "kind": options.kind,
        "budget": options.budget,
        "thresholds": found.thresholds,
        **{
            split: {
                when: train.records.row(when, context.evaluate(w, examples, count=True))
                for when, w in (("without", weights), ("with", changed))
            }
            for split, examples in splits.items()
        },
    }


def _show(stage: str, record: Mapping[str, Any]) -> None:
    rows = [
        (
            split,
            when,
            percent(row["top1"]),
            percent(row["activation_sparsity"]["element"]),
            percent(row["flops_drop"]["dense"]),
        )
        for split in ("holdout", "test")
        for when, row in record.get(split, {}).items()
    ]
    headings = ("", "thresholds", "top-1 %", "activation sparsity %", "FLOPs drop %")
    show(Table(stage, headings, tuple(rows), words=2))
    for name, t in record["thresholds"].items():
        print(f"  {name}: {t:.4g}")


if __name__ == "__main__":
    sys.exit(main())
