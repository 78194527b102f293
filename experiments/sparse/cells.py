"""Trains every method from the same start, once for every seed."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax

from dst_jax import train
from dst_jax.models import summary
from dst_jax.models.linen import Linen
from dst_jax.train import Context, Stage
from dst_jax.typing import Network
from experiments import build
from experiments.comparison.cells import of_seed
from experiments.comparison.records import Record, Records
from experiments.sparse.costs import training_share
from experiments.sparse.options import Cell, SparseTraining

__all__ = ["rehearse", "stage_of", "train_cells"]


def stage_of(cell: Cell, options: SparseTraining) -> Stage:
    """A cell's training; the recipe is the same for all."""
    optimizer = build.build_optimizer(
        options.optim,
        lr=options.lr,
        warmup=options.optim.warmup_epochs,
        method=cell.method,
    )
    return Stage(name=cell.name, epochs=options.epochs, optimizer=optimizer)


def rehearse(context: Context, stages: Sequence[Stage]) -> None:
    """Refuses a method that does not fit the network or the number of steps.

    Raises:
      ValueError: naming the cell, and from the library what is wrong.
    """
    weights = jax.eval_shape(context.fresh_weights)
    for stage in stages:
        train.rehearse(context, [stage], weights)


def train_cells(
    context: Context,
    cells: Sequence[tuple[Cell, Stage]],
    seeds: Sequence[int],
    records: Records,
    *,
    accumulate: int,
    init: Network | None = None,
) -> None:
    """Trains every cell that has no record yet, and records what the hold-out says.

    Args:
      context: model, data, devices; every seed has a run directory of its own in it.
      cells: with their stages.
      seeds: of initialisation, data order and masks.
      records: what is finished.
      accumulate: batches of an optimizer step.
      init: where every training starts; fresh weights of the seed if None.

    Raises:
      Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
      NonFiniteLoss: names the cell; the cells before it are on record.
    """
    events = train.TensorBoard(str(context.run.path / "tensorboard"), enabled=False)
    with train.Interrupt() as interrupt:
        for seed in seeds:
            own = of_seed(context, seed)
            run = partial(train.run_stage, own, interrupt=interrupt, events=events)
            for cell, stage in cells:
                if records.get(cell.name, seed) is not None:
                    continue
                start = own.fresh_weights() if init is None else init
                weights, _ = run(stage, start)
                record = _record(own, cell, stage, weights, accumulate)
                records.add(record)
                own.console.say(_line(record))


def _record(
    context: Context, cell: Cell, stage: Stage, weights: Any, accumulate: int
) -> Record:
    """The hold-out on the end of a training, and what the training cost."""
    holdout = context.dataset.holdout
    found = None
    if holdout is not None:
        found = context.evaluate(weights, holdout, count=False)
    assert isinstance(context.model, Linen)  # `build_context` makes it
    layers = summary.layers(context.model.module, context.dataset.image_shape)
    lines = [x for x in context.run.read_masks() if x["stage"] == stage.name]
    return {
        "cell": cell.name,
        "seed": context.seed,
        "method": cell.text,
        "holdout": None if found is None else {"top1": found.top1, "loss": found.loss},
        "training_macs": training_share(
            cell.method,
            lines,
            {layer.name: layer.macs for layer in layers},
            epochs=stage.epochs,
            updates_per_epoch=context.steps_per_epoch / accumulate,
        ),
        "epochs": stage.epochs,
        **train.records.throughput(
            context.run.read_metrics(), stage.name, batch_size=context.batch_size
        ),
    }


def _line(record: Record) -> str:
    said = f"seed {record['seed']}, {record['cell']}:"
    if record["holdout"] is not None:
        said += f" hold-out top-1 {record['holdout']['top1']:.2%},"
    return f"{said} training MACs {record['training_macs']:.2%} of dense"
