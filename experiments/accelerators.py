"""A finished run on modelled accelerators: what its sparsity is worth there.

COMMAND
  python -m experiments.accelerators RUN_DIR

Writes RUN_DIR/accelerators/STAGE.json for every stage and the report anew. A run does
the same by itself with `--run.accelerators NAME ...`.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from dst_jax import report, train
from dst_jax.cost import accelerators
from experiments import finished

__all__ = ["Options", "estimate_stages", "main"]


@dataclass(frozen=True)
class Options:
    """Which run, and which machines."""

    run_dir: Annotated[str, tyro.conf.Positional]
    """A finished run."""
    names: tuple[str, ...] = accelerators.names()
    """Presets of dst_jax.cost.accelerators."""
    examples: int = train.EXAMPLES
    """Test images that an estimate is the mean of."""
    data_dir: str | None = None
    """Where prepared data sets lie, if not where the run had them."""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = tyro.cli(
        Options,
        args=argv,
        prog="python -m experiments.accelerators",
        description=__doc__,
    )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        _estimate(options)
        report.show([options.run_dir])
        print(f"report: {report.write(options.run_dir)}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def estimate_stages(
    context: train.Context,
    stages: Sequence[train.Stage],
    names: Sequence[str],
    *,
    examples: int = train.EXAMPLES,
) -> None:
    """Writes the estimates for every stage's end, from its checkpoint.

    Args:
      context: of the run that trained them.
      stages: all phases, in order.
      names: of accelerators.
      examples: test images.
    """
    last = {stage.name: stage for stage in stages}
    for name, stage in last.items():
        context.console.say(f"{name}: estimating {len(names)} accelerator(s)")
        weights = finished.weights_of(context, stage)
        found = train.estimate(context, weights, names, examples=examples)
        context.run.write_accelerators(name, found)


def _estimate(options: Options) -> None:
    for name in options.names:
        accelerators.create(name)
    if options.examples < 1:
        raise ValueError(f"--examples must be at least 1, got {options.examples}")
    context, stages = finished.reopen(options.run_dir, data_dir=options.data_dir)
    estimate_stages(context, stages, options.names, examples=options.examples)


if __name__ == "__main__":
    sys.exit(main())
