"""One stage: restored or entered, trained, saved."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dst_jax import activations, pruning
from dst_jax.train.callbacks import Callbacks
from dst_jax.train.checkpoint import Checkpoints, abstract_like
from dst_jax.train.context import Context
from dst_jax.train.flops_aware import flops_aware
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.loop import NonFiniteLoss, fit
from dst_jax.train.objective import Objective
from dst_jax.train.sharding import put_batch
from dst_jax.train.stages import Stage
from dst_jax.train.state import TrainState, Weights, enter, weights_of
from dst_jax.train.step import make_train_step
from dst_jax.train.tensorboard import TensorBoard
from dst_jax.typing import Mask

__all__ = ["Plan", "plan_stage", "run_stage"]


class Plan(NamedTuple):
    """A stage made concrete by the weights it starts from."""

    steps: int
    state: TrainState
    """Abstract: shapes, dtypes and shardings."""
    weights: Weights
    """Abstract."""
    optimizer: optax.GradientTransformation
    masks: Any
    """The structure of the mask it is given; None if there is none."""


def run_stage(
    context: Context,
    stage: Stage,
    start: Weights,
    *,
    interrupt: Interrupt,
    events: TensorBoard,
) -> tuple[Weights, bool]:
    """Trains a stage to its end, from its newest intact checkpoint if it has one.

    Args:
      context: model, data, devices, run directory.
      stage: what to train.
      start: the weights it starts from.
      interrupt: asked after every step.
      events: where scalars go besides metrics.jsonl.

    Returns:
      The weights at the stage's end, and whether anything was left to train.

    Raises:
      Interrupted: a signal came; the state is saved.
      NonFiniteLoss: names the stage, the step and the last good checkpoint.
    """
    plan = plan_stage(context, stage, start)
    directory = context.run.checkpoints / stage.path
    batches = context.train_batches(stage.path) if plan.steps else None
    try:
        with Checkpoints(directory, dense_weights=stage.dense_weights) as checkpoints:
            restored = _restore(context, stage, plan, checkpoints, batches)
            if restored is not None and int(restored.step) == plan.steps:
                return weights_of(restored, dense_weights=stage.dense_weights), False
            state = restored
            if state is None:
                state = _enter(context, stage, plan, start)
            _forget_metrics_after(context, stage, int(state.step))
            callbacks = Callbacks(
                context,
                stage,
                steps=plan.steps,
                checkpoints=checkpoints,
                batches=batches,
                events=events,
            )
            if plan.steps == 0:
                callbacks.save(state, None)
            else:
                objective = _objective(context, stage, start)
                state = _train(
                    context,
                    stage,
                    plan,
                    objective,
                    state,
                    batches,
                    callbacks,
                    interrupt,
                )
            return weights_of(state, dense_weights=stage.dense_weights), True
    finally:
        if batches is not None:
            batches.close()


def _restore(
    context: Context, stage: Stage, plan: Plan, checkpoints: Checkpoints, batches: Any
) -> TrainState | None:
    template = (plan.state, plan.weights)
    state, problems = checkpoints.restore(template, batches)
    instead = "using the one before" if state is not None else "starting over"
    for problem in problems:
        context.console.say(f"{stage.path}: {problem}; {instead}")
    if state is not None and int(state.step) < plan.steps:
        context.console.say(f"{stage.path}: resuming at step {state.step}/{plan.steps}")
    return state


def plan_stage(context: Context, stage: Stage, start: Weights) -> Plan:
    """What a stage will do with weights of these shapes; nothing is computed."""
    steps = round(stage.epochs * context.steps_per_epoch)
    abstract = abstract_like(start, context.sharding)
    mask = jax.eval_shape(stage.mask, abstract.params, abstract.mask)
    optimizer = _optimizer(context, stage, steps, mask)
    state = jax.eval_shape(
        lambda weights: _build(context, stage, steps, weights), abstract
    )
    state = abstract_like(state, context.sharding)
    masks = None if mask is None else jax.tree.structure(mask)
    weights = jax.eval_shape(
        partial(weights_of, dense_weights=stage.dense_weights), state
    )
    weights = abstract_like(weights, context.sharding)
    return Plan(steps, state, weights, optimizer, masks)


def _enter(context: Context, stage: Stage, plan: Plan, start: Weights) -> TrainState:
    # Jitted, so that the state shares no buffer with `start`: steps donate it.
    build = jax.jit(
        lambda weights: _build(context, stage, plan.steps, weights),
        out_shardings=context.sharding,
    )
    return build(start)


def _build(context: Context, stage: Stage, steps: int, start: Weights) -> TrainState:
    mask = stage.mask(start.params, start.mask)
    optimizer = _optimizer(context, stage, steps, mask)
    pruned = Weights(start.params, _thresholded(context, stage, start), mask)
    return enter(
        pruned,
        optimizer,
        context.stage_key(stage.path),
        stage.objective.start(),
        dense_weights=stage.dense_weights,
    )


def _thresholded(context: Context, stage: Stage, start: Weights) -> Any:
    """The model state with the stage's threshold on every map."""
    wanted = stage.thresholding
    if wanted is None:
        return start.model_state
    thresholds = dict.fromkeys(context.map_names, wanted.value)
    return activations.with_thresholds(start.model_state, thresholds, kind=wanted.kind)


def _optimizer(
    context: Context, stage: Stage, steps: int, mask: Mask
) -> optax.GradientTransformation:
    return stage.optimizer(
        steps=steps,
        steps_per_epoch=context.steps_per_epoch,
        mask=mask,
        seed=context.stage_seed(stage.path),
    )


def _objective(context: Context, stage: Stage, start: Weights) -> Objective:
    """The stage's objective; FLOPs-aware weights follow from what it starts from."""
    if not stage.flops_aware:
        return stage.objective
    mask = stage.mask(start.params, start.mask)
    params = start.params if mask is None else pruning.masks.apply(mask, start.params)
    example = jnp.zeros((1, *context.dataset.image_shape), context.dtype)
    term = flops_aware(
        stage.objective.activation,
        context.model,
        Weights(params, start.model_state, mask),
        example,
    )
    return replace(stage.objective, activation=term)


def _train(
    context: Context,
    stage: Stage,
    plan: Plan,
    objective: Objective,
    state: TrainState,
    batches: Any,
    callbacks: Callbacks,
    interrupt: Interrupt,
) -> TrainState:
    train_step = context.once(
        ("train", stage.optimizer, plan.steps, plan.masks),
        lambda: make_train_step(
            context.model,
            plan.optimizer,
            preprocess=context.preprocess,
            steps_per_epoch=context.steps_per_epoch,
            out_sharding=context.sharding,
            dense_weights=stage.dense_weights,
        ),
    )
    context.console.start(stage.path, step=int(state.step), steps=plan.steps)
    try:
        return fit(
            state,
            batches,
            train_step=train_step,
            objective=objective,
            put=lambda batch: put_batch(batch, context.mesh),
            steps=plan.steps,
            look=lambda step: step % context.log_every == 0,
            visit=callbacks.due,
            on_look=callbacks.look,
            on_visit=callbacks.visit,
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
