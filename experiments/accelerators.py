"""A finished run on modelled accelerators: what its sparsity is worth there.

COMMAND
  python -m experiments.accelerators RUN_DIR

Writes RUN_DIR/accelerators/STAGE.json for every stage and the report anew. A run does
the same by itself with `--run.accelerators NAME ...`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from experiments.options.annotations import AT_LEAST_1, check_ranges
from experiments.options.texts import about
from experiments.running.command_line import parse, status
from experiments.running.finished_run_options import FinishedRunOptions

if TYPE_CHECKING:
    from dst_jax import train

__all__ = ["Options", "estimate_stages", "main"]


@dataclass(frozen=True)
class Options(FinishedRunOptions):
    """Which run, and which accelerators."""

    names: tuple[str, ...] = ()
    """Presets of dst_jax.cost.accelerators, MODULE:ATTRIBUTE, or YAML files
    (docs/hardware_files.md); all presets if not given."""
    examples: Annotated[int, AT_LEAST_1] = 8
    """Test images that an estimate is the mean of."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none", "--names", "tpu9"])
    2
    """
    options = parse(Options, argv, name="accelerators", doc=__doc__)
    return status(lambda: _names(options), lambda names: _estimate(options, names))


def estimate_stages(
    context: "train.Context",
    names: Sequence[str],
    *,
    examples: int = Options.examples,
) -> None:
    """Writes the estimates for every stage's end, from its checkpoint.

    Args:
      context: context of the run that trained them.
      names: names of accelerators.
      examples: number of test images.
    """
    from dst_jax import train
    from experiments.running import finished_run

    for name in finished_run.stage_names(context.run):
        context.console.say(f"{name}: estimating {len(names)} accelerator(s)")
        network = finished_run.network_at_end(context, name)
        found = train.estimate(context, network, names, examples=examples)
        context.run.write_accelerators(name, found)


def _names(options: Options) -> tuple[str, ...]:
    """The accelerators, once they and the other options are found to be right."""
    from dst_jax.cost import accelerators

    check_ranges(options)
    names = options.names or accelerators.names()
    with about("--names"):
        for name in accelerators.labels(names).values():
            accelerators.create(name)
    return names


def _estimate(options: Options, names: Sequence[str]) -> None:
    from dst_jax import report

    context = options.reopen()
    with context.run.lock():
        estimate_stages(context, names, examples=options.examples)
    report.show([options.run_dir])
    print(f"report: {report.write(options.run_dir)}")


if __name__ == "__main__":
    sys.exit(main())
