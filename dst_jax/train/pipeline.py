"""A list of stages, run from wherever an earlier run of the same list stopped."""

from collections.abc import Sequence
from typing import Any

import jax
import optax

from dst_jax.train import records
from dst_jax.train.context import Context
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.stage_run import plan_stage, run_stage
from dst_jax.train.stages import Stage
from dst_jax.train.state import Weights
from dst_jax.train.tensorboard import TensorBoard

__all__ = ["rehearse", "train"]


def train(
    context: Context,
    stages: Sequence[Stage],
    *,
    config: dict[str, Any],
    init: Weights | None = None,
) -> dict[str, Any]:
    """Trains and evaluates all stages that are not finished, then writes summary.json.

    The test set is read once per row, after the row's last phase.

    Args:
      context: model, data, devices, run directory.
      stages: in order; the first is the baseline that drift is measured from.
      config: written into the summary.
      init: weights for the first stage; fresh ones if None.

    Returns:
      The summary: `config`, `stages` (the rows in order), `params_sha256`.

    Raises:
      ValueError: a stage does not fit the network; before anything is trained.
      Interrupted: on SIGTERM or Ctrl-C, once the state is saved.
      NonFiniteLoss: naming the stage, the step and the last good checkpoint.
    """
    weights = init if init is not None else context.fresh_weights()
    rehearse(context, stages, weights)
    events = TensorBoard(
        str(context.run.path / "tensorboard"), enabled=context.run.writer
    )
    ends: dict[str, Weights] = {}
    rows: list[dict[str, Any]] = []
    try:
        with Interrupt() as interrupt:
            for i, stage in enumerate(stages):
                start = weights if stage.start is None else ends[stage.start]
                weights, trained = run_stage(
                    context, stage, start, interrupt=interrupt, events=events
                )
                ends[stage.name] = weights
                if _is_last_phase(stages, i):
                    baseline = ends[stages[0].name] if rows else None
                    row = None if trained else context.run.read_stage(stage.name)
                    phases = [s for s in stages if s.name == stage.name]
                    rows.append(
                        row or _row(context, phases, weights, baseline, interrupt)
                    )
    finally:
        context.console.finish()
        events.close()
    summary = {
        "config": config,
        "stages": [{k: v for k, v in row.items() if k != "layers"} for row in rows],
        "params_sha256": records.params_sha256(weights.params),
    }
    context.run.write_summary(summary)
    return summary


def rehearse(context: Context, stages: Sequence[Stage], init: Weights) -> None:
    """Traces every stage's optimizer without computing anything.

    Options that do not fit the network or the number of steps are found here, before
    the stages in front of them are trained.

    Raises:
      ValueError: naming the stage, and from the library what is wrong.
    """
    weights: Weights = init
    ends: dict[str, Weights] = {}
    for stage in stages:
        start = weights if stage.start is None else ends[stage.start]
        try:
            plan = plan_stage(context, stage, start)
            state = plan.state
            tx = optax.with_extra_args_support(plan.optimizer)
            jax.eval_shape(tx.update, state.params, state.opt_state, state.params)
        except ValueError as error:
            raise ValueError(f"stage {stage.path}: {error}") from error
        weights = ends[stage.name] = plan.weights


def _row(
    context: Context,
    phases: Sequence[Stage],
    weights: Weights,
    baseline: Weights | None,
    interrupt: Interrupt,
) -> dict[str, Any]:
    """Evaluates the end of a stage's last phase and writes the stage's record."""
    name = phases[-1].name
    test = context.evaluate(
        weights, context.dataset.test, count=True, check=interrupt.check
    )
    metrics = context.run.read_metrics()
    own = [m for m in metrics if m["kind"] == "eval" and m["stage"] == name]
    last = own[-1] if own else None
    moved = None if baseline is None else records.drift(baseline.params, weights.params)
    row = {
        **records.row(name, test),
        "epochs": sum(phase.epochs for phase in phases),
        "holdout": last and {k: last[k] for k in ("top1", "top5", "loss")},
        "drift": moved,
        "corrupt_records": sorted(context.dataset.train.corrupt.reasons),
        **records.throughput(metrics, name, batch_size=context.batch_size),
    }
    context.run.write_stage(name, row)
    if row["corrupt_records"]:
        names = ", ".join(row["corrupt_records"])
        context.console.say(f"{name}: left out corrupt records: {names}")
    context.console.say(
        f"{name}: top-1 {test.top1:.2%}, weight sparsity"
        f" {test.weight_sparsity:.2%}, activation sparsity"
        f" {test.element_sparsity:.2%}, FLOPs drop {test.drop('dense'):.2%}"
        f" on {test.examples} test images"
    )
    return row


def _is_last_phase(stages: Sequence[Stage], i: int) -> bool:
    return i + 1 == len(stages) or stages[i + 1].name != stages[i].name
