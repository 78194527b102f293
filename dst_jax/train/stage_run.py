"""One stage: restored or entered, trained, saved."""

from typing import Any

import grain
import jax

from dst_jax.train.callbacks import Callbacks
from dst_jax.train.checkpoint import Checkpoints
from dst_jax.train.context import Context
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.loop import NonFiniteLoss, fit
from dst_jax.train.objective import Objective
from dst_jax.train.sharding import put_batch
from dst_jax.train.stage import Stage
from dst_jax.train.stage_plan import (
    Plan,
    apply_hook,
    objective_of,
    plan_stage,
    train_step,
)
from dst_jax.train.state import TrainState
from dst_jax.train.tensorboard import TensorBoard
from dst_jax.typing import Network

__all__ = ["run_stage"]

Batches = grain.DatasetIterator[Any] | None


def run_stage(
    context: Context,
    stage: Stage,
    start: Network,
    *,
    interrupt: Interrupt,
    events: TensorBoard,
) -> tuple[Network, bool]:
    """Trains a stage to its end, from its newest intact checkpoint if it has one.

    Args:
      context: the run's.
      stage: what to train.
      start: the network it starts from.
      interrupt: asked after every step.
      events: where scalars go besides metrics.jsonl.

    Returns:
      The network that the stage hands on, and whether anything was left to train.

    Raises:
      Interrupted: a signal came; the state is saved.
      NonFiniteLoss: names the stage, the step and the last good checkpoint.
    """
    entered = apply_hook(stage.on_entry, context.with_model(start), context)
    plan = plan_stage(context, stage, entered)

    def network_at(state: TrainState, step: int) -> Network:
        network = plan.network_of(state)
        if step < plan.steps:
            return network
        return apply_hook(stage.on_exit, network, context)

    directory = context.run.checkpoints / stage.path
    batches = context.train_batches(stage.path) if plan.steps else None
    try:
        with Checkpoints(
            directory, best=context.task.best, apart=plan.apart
        ) as checkpoints:
            state = _restore(context, stage, plan, checkpoints, batches)
            if state is not None and int(state.step) == plan.steps:
                return network_at(state, plan.steps), False
            if state is None:
                state = _enter(context, plan, entered)
            _forget_metrics_after(context, stage, int(state.step))
            callbacks = Callbacks(
                context,
                stage,
                steps=plan.steps,
                network_at=network_at,
                checkpoints=checkpoints,
                batches=batches,
                events=events,
            )
            if batches is None:
                callbacks.save(state, 0)
            else:
                objective = objective_of(context, stage, entered)
                _train(
                    context,
                    stage,
                    plan,
                    objective,
                    state,
                    batches,
                    callbacks,
                    interrupt,
                )
            assert callbacks.saved is not None  # the last step is always saved
            return callbacks.saved, True
    finally:
        if batches is not None:
            batches.close()


def _restore(
    context: Context,
    stage: Stage,
    plan: Plan,
    checkpoints: Checkpoints,
    batches: Batches,
) -> TrainState | None:
    state, problems = checkpoints.restore((plan.state, plan.trained), batches)
    instead = "using the one before" if state is not None else "starting over"
    for problem in problems:
        context.console.say(f"{stage.path}: {problem}; {instead}")
    if state is not None and int(state.step) < plan.steps:
        context.console.say(f"{stage.path}: resuming at step {state.step}/{plan.steps}")
    return state


def _enter(context: Context, plan: Plan, entered: Network) -> TrainState:
    # Jitted, so that the state shares no buffer with `entered`: steps donate it.
    return jax.jit(plan.build, out_shardings=context.sharding)(entered)


def _train(
    context: Context,
    stage: Stage,
    plan: Plan,
    objective: Objective,
    state: TrainState,
    batches: grain.DatasetIterator[Any],
    callbacks: Callbacks,
    interrupt: Interrupt,
) -> None:
    context.console.start(stage.path, step=int(state.step), steps=plan.steps)
    try:
        fit(
            state,
            batches,
            train_step=train_step(context, stage, plan),
            objective=objective.of(context.task),
            put=lambda batch: put_batch(batch, context.mesh),
            steps=plan.steps,
            log=lambda step: step % context.log_every == 0,
            save=callbacks.due,
            on_log=callbacks.log,
            on_save=callbacks.save,
            stop=interrupt.requested,
        )
    except NonFiniteLoss as error:
        raise NonFiniteLoss(
            error.step, error.loss, f"{stage.path}: {callbacks.last_good()}"
        ) from None


def _forget_metrics_after(context: Context, stage: Stage, step: int) -> None:
    def keep(line: dict[str, Any]) -> bool:
        own = line["stage"] == stage.name and line["phase"] == stage.phase
        return not own or line["step"] <= step

    context.run.keep_metrics(keep)
