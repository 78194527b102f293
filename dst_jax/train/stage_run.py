"""One stage: restored or entered, trained, saved."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dst_jax import activations, pruning
from dst_jax.train.checkpoint import Checkpoints, abstract_like
from dst_jax.train.events import Events
from dst_jax.train.flops_aware import flops_aware
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.loop import NonFiniteLoss, fit
from dst_jax.train.objective import Objective
from dst_jax.train.setup import Setup
from dst_jax.train.sharding import put_batch
from dst_jax.train.stages import Stage
from dst_jax.train.state import TrainState, Weights, enter, weights_of
from dst_jax.train.step import make_train_step
from dst_jax.train.visits import Visits
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
    setup: Setup,
    stage: Stage,
    start: Weights,
    *,
    interrupt: Interrupt,
    events: Events,
) -> tuple[Weights, bool]:
    """Trains a stage to its end, from its newest intact checkpoint if it has one.

    Args:
      setup: model, data, devices, run directory.
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
    plan = plan_stage(setup, stage, start)
    directory = setup.run.checkpoints / stage.path
    batches = setup.train_batches(stage.path) if plan.steps else None
    try:
        with Checkpoints(directory, dense_weights=stage.dense_weights) as checkpoints:
            restored = _restore(setup, stage, plan, checkpoints, batches)
            if restored is not None and int(restored.step) == plan.steps:
                return weights_of(restored, dense_weights=stage.dense_weights), False
            state = restored
            if state is None:
                state = _enter(setup, stage, plan, start)
            _forget_metrics_after(setup, stage, int(state.step))
            visits = Visits(
                setup,
                stage,
                steps=plan.steps,
                checkpoints=checkpoints,
                batches=batches,
                events=events,
            )
            if plan.steps == 0:
                visits.save(state, None)
            else:
                objective = _objective(setup, stage, start)
                state = _train(
                    setup, stage, plan, objective, state, batches, visits, interrupt
                )
            return weights_of(state, dense_weights=stage.dense_weights), True
    finally:
        if batches is not None:
            batches.close()


def _restore(
    setup: Setup, stage: Stage, plan: Plan, checkpoints: Checkpoints, batches: Any
) -> TrainState | None:
    template = (plan.state, plan.weights)
    state, problems = checkpoints.restore(template, batches)
    instead = "using the one before" if state is not None else "starting over"
    for problem in problems:
        setup.narrator.say(f"{stage.path}: {problem}; {instead}")
    if state is not None and int(state.step) < plan.steps:
        setup.narrator.say(f"{stage.path}: resuming at step {state.step}/{plan.steps}")
    return state


def plan_stage(setup: Setup, stage: Stage, start: Weights) -> Plan:
    """What a stage will do with weights of these shapes; nothing is computed."""
    steps = round(stage.epochs * setup.steps_per_epoch)
    abstract = abstract_like(start, setup.sharding)
    mask = jax.eval_shape(stage.mask, abstract.params, abstract.mask)
    optimizer = _optimizer(setup, stage, steps, mask)
    state = jax.eval_shape(
        lambda weights: _build(setup, stage, steps, weights), abstract
    )
    state = abstract_like(state, setup.sharding)
    masks = None if mask is None else jax.tree.structure(mask)
    weights = jax.eval_shape(
        partial(weights_of, dense_weights=stage.dense_weights), state
    )
    weights = abstract_like(weights, setup.sharding)
    return Plan(steps, state, weights, optimizer, masks)


def _enter(setup: Setup, stage: Stage, plan: Plan, start: Weights) -> TrainState:
    # Jitted, so that the state shares no buffer with `start`: steps donate it.
    build = jax.jit(
        lambda weights: _build(setup, stage, plan.steps, weights),
        out_shardings=setup.sharding,
    )
    return build(start)


def _build(setup: Setup, stage: Stage, steps: int, start: Weights) -> TrainState:
    mask = stage.mask(start.params, start.mask)
    optimizer = _optimizer(setup, stage, steps, mask)
    pruned = Weights(start.params, _thresholded(setup, stage, start), mask)
    return enter(
        pruned,
        optimizer,
        setup.stage_key(stage.path),
        stage.objective.start(),
        dense_weights=stage.dense_weights,
    )


def _thresholded(setup: Setup, stage: Stage, start: Weights) -> Any:
    """The model state with the stage's threshold on every map."""
    wanted = stage.thresholding
    if wanted is None:
        return start.model_state
    thresholds = dict.fromkeys(setup.map_names, wanted.value)
    return activations.with_thresholds(start.model_state, thresholds, kind=wanted.kind)


def _optimizer(
    setup: Setup, stage: Stage, steps: int, mask: Mask
) -> optax.GradientTransformation:
    return stage.optimizer(
        steps=steps,
        steps_per_epoch=setup.steps_per_epoch,
        mask=mask,
        seed=setup.stage_seed(stage.path),
    )


def _objective(setup: Setup, stage: Stage, start: Weights) -> Objective:
    """The stage's objective; FLOPs-aware weights follow from what it starts from."""
    if not stage.flops_aware:
        return stage.objective
    mask = stage.mask(start.params, start.mask)
    params = start.params if mask is None else pruning.masks.apply(mask, start.params)
    example = jnp.zeros((1, *setup.dataset.image_shape), setup.dtype)
    term = flops_aware(
        stage.objective.activation,
        setup.model,
        Weights(params, start.model_state, mask),
        example,
    )
    return replace(stage.objective, activation=term)


def _train(
    setup: Setup,
    stage: Stage,
    plan: Plan,
    objective: Objective,
    state: TrainState,
    batches: Any,
    visits: Visits,
    interrupt: Interrupt,
) -> TrainState:
    train_step = setup.once(
        ("train", stage.optimizer, plan.steps, plan.masks),
        lambda: make_train_step(
            setup.model,
            plan.optimizer,
            preprocess=setup.preprocess,
            steps_per_epoch=setup.steps_per_epoch,
            out_sharding=setup.sharding,
            dense_weights=stage.dense_weights,
        ),
    )
    setup.narrator.start(stage.path, step=int(state.step), steps=plan.steps)
    try:
        return fit(
            state,
            batches,
            train_step=train_step,
            objective=objective,
            put=lambda batch: put_batch(batch, setup.mesh),
            steps=plan.steps,
            look=lambda step: step % setup.log_every == 0,
            visit=visits.due,
            on_look=visits.look,
            on_visit=visits.visit,
            stop=interrupt.requested,
        )
    except NonFiniteLoss as error:
        raise NonFiniteLoss(
            error.step, error.loss, f"{stage.path}: {visits.last_good()}"
        ) from None


def _forget_metrics_after(setup: Setup, stage: Stage, step: int) -> None:
    def keep(line: dict[str, Any]) -> bool:
        own = line["stage"] == stage.name and line["phase"] == stage.phase
        return not own or line["step"] <= step

    setup.run.keep_metrics(keep)
