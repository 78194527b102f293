"""Why baselines of one recipe differ in activation sparsity: the answer to background.

Most pixels of a digit are background, all of one value. Each channel of the first
convolution answers to it with one number, its bias plus that value times the sum of its
weights, whose sign leaves nearly all of the channel's map on, or off. So a handful of
signs, drawn with the initialisation, decides most of a small network's sparsity.

COMMAND
  python -m experiments.background DIR        of experiments.compare_penalties

Prints, for the baseline of every seed, what an all-black image leaves on in the first
map, beside the zeros that the hold-out finds there.
"""

import logging
import sys
from dataclasses import dataclass, replace
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import tyro

from dst_jax import train
from dst_jax.report.tables.table import Table, percent
from dst_jax.report.terminal import show
from dst_jax.runs import Run
from dst_jax.train import Context
from experiments import build
from experiments.comparison import cells
from experiments.comparison.options import Compare, base
from experiments.comparison.records import Records
from experiments.config import from_nested

__all__ = ["Options", "main"]


@dataclass(frozen=True)
class Options:
    """Which comparison."""

    directory: Annotated[str, tyro.conf.Positional]
    """Of experiments.compare_penalties."""
    data_dir: str | None = None
    """Where prepared data sets lie; else $TFDS_DATA_DIR."""


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit status."""
    options = tyro.cli(
        Options, args=argv, prog="python -m experiments.background", description=__doc__
    )
    logging.getLogger("absl").setLevel(logging.ERROR)
    try:
        show(_table(options))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _table(options: Options) -> Table:
    run = Run(options.directory, writer=False)
    record = run.read_config()
    if record is None or "seeds" not in record["config"]:
        raise ValueError(f"{run.path} is not a comparison of compare_penalties")
    compare = from_nested(record["config"], Compare)
    config = base(compare)
    if options.data_dir is not None:
        config = replace(config, data=replace(config.data, dir=options.data_dir))
    context = build.build_context(config, run, train.Console(quiet=True))
    found = Records(run.path / "cells.jsonl").all()
    rows = [
        _row(cells.of_seed(context, line["seed"]), line)
        for line in found
        if line["cell"] == "baseline"
    ]
    return Table(
        title="Baselines",
        headings=(
            "seed",
            "channels on",
            "of black, zero %",
            "of the hold-out, zero %",
            "all maps, zero %",
        ),
        rows=tuple(rows),
    )


def _row(context: Context, record: dict[str, Any]) -> tuple[str, ...]:
    path = context.run.checkpoints / "baseline"
    weights = context.with_model(train.load_weights(path, sharding=context.sharding))
    black = jnp.zeros((1, *context.dataset.image_shape), jnp.uint8)
    _, maps, _ = weights.model(weights.variables, context.preprocess(black))
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
