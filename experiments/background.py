"""Why baselines of one recipe differ in activation sparsity: the answer to background.

Most pixels of a digit are background, all of one value. Each channel of the first
convolution answers to it with one number, its bias plus that value times the sum of its
weights, whose sign leaves nearly all of the channel's map on, or off. So a handful of
signs, drawn with the initialisation, decides most of a small network's sparsity.

COMMAND
  python -m experiments.background DIR        of experiments.compare_penalties

Prints, for the baseline of every seed, what an all-black image leaves on in the first
map, next to the zeros that the hold-out finds there.
"""

import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from experiments.running.command_line import parse, status

if TYPE_CHECKING:
    from dst_jax.train import Context

__all__ = ["Options", "main"]

_HEADINGS = (
    "seed",
    "channels on",
    "of black, zero %",
    "of the hold-out, zero %",
    "all maps, zero %",
)


@dataclass(frozen=True)
class Options:
    """Which comparison."""

    directory: Annotated[str, tyro.conf.Positional]
    """Directory of experiments.compare_penalties."""
    data_dir: str | None = None
    """Directory of prepared data sets; else $TFDS_DATA_DIR."""


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns the exit status.

    Args:
      argv: the arguments; the command line's by default.

    >>> main(["runs/none"])
    2
    """
    options = parse(Options, argv, name="background", doc=__doc__)
    return status(lambda: options, _print)


def _print(options: Options) -> None:
    from dst_jax import train
    from dst_jax.report.tables.table import Table
    from dst_jax.report.terminal import show
    from dst_jax.runs import Run
    from experiments.grid.cells import of_seed
    from experiments.grid.penalties.options import PenaltyGrid
    from experiments.grid.records import CellRecords
    from experiments.running.config_record import from_nested

    run = Run(options.directory, writer=False)
    record = run.read_config()
    if record is None or "seeds" not in record["config"]:
        raise ValueError(f"{run.path} is not a comparison of compare_penalties")
    config = from_nested(record["config"], PenaltyGrid).base()
    if options.data_dir is not None:
        config = replace(config, data=replace(config.data, dir=options.data_dir))
    context = config.context(run, train.Console(quiet=True))
    found = CellRecords(run.path / "cells.jsonl").all()
    rows = [
        _row(of_seed(context, line["seed"]), line)
        for line in found
        if line["cell"] == "baseline"
    ]
    show(Table(title="Baselines", headings=_HEADINGS, rows=tuple(rows)))


def _row(context: "Context", record: dict[str, Any]) -> tuple[str, ...]:
    import jax.numpy as jnp
    import numpy as np

    from dst_jax import train
    from dst_jax.report.tables.table import percent

    path = context.run.checkpoints / "baseline"
    loaded = train.load_weights(path, sharding=context.sharding)
    network = context.with_model(loaded)
    black = jnp.zeros((1, *context.dataset.image_shape), jnp.uint8)
    _, maps, _ = network.model(network.variables, context.preprocess(black))
    first, answer = next(iter(maps.items()))
    centre = np.asarray(answer)[0, answer.shape[1] // 2, answer.shape[2] // 2]
    sparsity = record["activation_sparsity"]
    return (
        str(record["seed"]),
        f"{np.count_nonzero(centre)} of {centre.size}",
        percent(float(np.mean(centre == 0))),
        percent(sparsity["layers"][first]),
        percent(sparsity["element"]),
    )


if __name__ == "__main__":
    sys.exit(main())
