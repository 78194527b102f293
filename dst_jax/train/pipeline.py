"""A list of stages, run from wherever an earlier run of the same list stopped."""

from collections.abc import Sequence
from typing import Any

import jax
import optax

from dst_jax.train import records
from dst_jax.train.events import Events
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.setup import Setup
from dst_jax.train.stage_run import plan_stage, run_stage
from dst_jax.train.stages import Stage
from dst_jax.train.state import Weights

__all__ = ["rehearse", "train"]


def train(
    setup: Setup,
    stages: Sequence[Stage],
    *,
    config: dict[str, Any],
    init: Weights | None = None,
) -> dict[str, Any]:
    """Trains and evaluates all stages that are not finished, then writes summary.json.

    The test set is read once per row, after the row's last phase.

    Args:
      setup: model, data, devices, run directory.
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
    weights = init if init is not None else setup.fresh_weights()
    rehearse(setup, stages, weights)
    events = Events(str(setup.run.path / "tensorboard"), enabled=setup.run.writer)
    ends: dict[str, Weights] = {}
    rows: list[dict[str, Any]] = []
    try:
        with Interrupt() as interrupt:
            for i, stage in enumerate(stages):
                start = weights if stage.start is None else ends[stage.start]
                weights, trained = run_stage(
                    setup, stage, start, interrupt=interrupt, events=events
                )
                ends[stage.name] = weights
                if _is_last_phase(stages, i):
                    baseline = ends[stages[0].name] if rows else None
                    row = None if trained else setup.run.read_stage(stage.name)
                    phases = [s for s in stages if s.name == stage.name]
                    rows.append(
                        row or _row(setup, phases, weights, baseline, interrupt)
                    )
    finally:
        setup.narrator.finish()
        events.close()
    summary = {
        "config": config,
        "stages": [{k: v for k, v in row.items() if k != "layers"} for row in rows],
        "params_sha256": records.params_sha256(weights.params),
    }
    setup.run.write_summary(summary)
    return summary


def rehearse(setup: Setup, stages: Sequence[Stage], init: Weights) -> None:
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
            plan = plan_stage(setup, stage, start)
            state = plan.state
            tx = optax.with_extra_args_support(plan.optimizer)
            jax.eval_shape(tx.update, state.params, state.opt_state, state.params)
        except ValueError as error:
            raise ValueError(f"stage {stage.path}: {error}") from error
        weights = ends[stage.name] = plan.weights


def _row(
    setup: Setup,
    phases: Sequence[Stage],
    weights: Weights,
    baseline: Weights | None,
    interrupt: Interrupt,
) -> dict[str, Any]:
    """Evaluates the end of a stage's last phase and writes the stage's record."""
    name = phases[-1].name
    test = setup.evaluate(
        weights, setup.dataset.test, count=True, check=interrupt.check
    )
    metrics = setup.run.read_metrics()
    own = [m for m in metrics if m["kind"] == "eval" and m["stage"] == name]
    last = own[-1] if own else None
    moved = None if baseline is None else records.drift(baseline.params, weights.params)
    row = {
        **records.row(name, test),
        "epochs": sum(phase.epochs for phase in phases),
        "holdout": last and {k: last[k] for k in ("top1", "top5", "loss")},
        "drift": moved,
        "corrupt_records": sorted(setup.dataset.train.corrupt.reasons),
        **records.throughput(metrics, name, batch_size=setup.batch_size),
    }
    setup.run.write_stage(name, row)
    if row["corrupt_records"]:
        names = ", ".join(row["corrupt_records"])
        setup.narrator.say(f"{name}: left out corrupt records: {names}")
    setup.narrator.say(
        f"{name}: top-1 {test.top1:.2%}, weight sparsity"
        f" {test.weight_sparsity:.2%}, activation sparsity"
        f" {test.element_sparsity:.2%}, FLOPs drop {test.drop('dense'):.2%}"
        f" on {test.examples} test images"
    )
    return row


def _is_last_phase(stages: Sequence[Stage], i: int) -> bool:
    return i + 1 == len(stages) or stages[i + 1].name != stages[i].name
