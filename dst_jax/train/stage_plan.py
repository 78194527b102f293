"""A stage made concrete by the network that it starts from; nothing is computed."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dst_jax import kernels, parametrisations, pruning, trees
from dst_jax.channels import Groups
from dst_jax.train import scheduled
from dst_jax.train.channel_groups import channel_groups
from dst_jax.train.context import Context
from dst_jax.train.flops_aware import flops_aware
from dst_jax.train.objective import Objective
from dst_jax.train.sharding import abstract_like
from dst_jax.train.stage import Stage, accepted
from dst_jax.train.state import TrainState, enter, follow, lift, network_of
from dst_jax.train.step import CountedStep, StepProgram, TrainStep
from dst_jax.train.traces import shapes_of
from dst_jax.typing import Mask, Network, Params, Schedule

__all__ = [
    "StagePlan",
    "completed",
    "counted_step",
    "objective_of",
    "plan_stage",
    "train_step",
]


class StagePlan(NamedTuple):
    """What a stage does to a network of these shapes. Arrays are abstract."""

    steps: int
    entered: Network
    """The network that is trained."""
    state: TrainState
    trained: Network
    """The network at the stage's end, before `Stage.on_exit`."""
    optimizer: optax.GradientTransformation
    build: Callable[[Network], TrainState]
    """The state at step 0 of the network that is trained; to be jitted."""
    network_of: Callable[[TrainState], Network]
    """The network in a state."""
    apart: tuple[str, ...]
    """Fields of the state that its network does not have as they are."""
    schedules: Mapping[str, Schedule]
    """By the names of what follows them."""
    kernels: kernels.Kernels


def plan_stage(context: Context, stage: Stage, entered: Network) -> StagePlan:
    """What a stage will do with the network that it trains.

    Args:
      context: the run's.
      stage: what to train.
      entered: the network after `Stage.on_entry`; shapes will do.

    Raises:
      ValueError: an option does not fit the network or the number of steps.

    >>> import optax
    >>> from dst_jax import data, models
    >>> from dst_jax.runs import Run
    >>> context = Context(
    ...     model=models.create("mlp", num_classes=10, hidden=(8,)),
    ...     dataset=data.load("digits"), run=Run("runs/a"), batch_size=128,
    ...     eval_batch_size=599)
    >>> stage = Stage(name="a", epochs=2, optimizer=lambda **_: optax.sgd(0.1))
    >>> plan = plan_stage(context, stage, jax.eval_shape(context.fresh_weights))
    >>> plan.steps, plan.trained.params["fc1"]["kernel"].shape
    (16, (256, 8))
    """
    steps = _steps(context, stage)
    schedules = _schedules(context, stage, steps)
    _check(context, stage, entered, schedules)
    entered = abstract_like(entered, context.sharding)
    found = context.kernels_of(entered)
    groups = partial(channel_groups, context, entered)
    make = partial(_optimizer, context, stage, steps, found, groups)

    def build(network: Network) -> TrainState:
        return enter(
            network,
            make(network),
            context.stage_key(stage.path),
            stage.objective.start(),
            parametrisation=stage.parametrisation,
            schedules=schedules,
            seed=context.stage_seed(stage.path),
            first_weights=_first_weights(stage, found),
        )

    network_at = partial(
        network_of,
        model=entered.model,
        parametrisation=stage.parametrisation,
        schedules=schedules,
    )
    state = abstract_like(jax.eval_shape(build, entered), context.sharding)
    trained = abstract_like(jax.eval_shape(network_at, state), context.sharding)
    return StagePlan(
        steps=steps,
        entered=entered,
        state=state,
        trained=trained,
        optimizer=make(entered),
        build=build,
        network_of=network_at,
        apart=_apart(stage, state, trained),
        schedules=schedules,
        kernels=found,
    )


def completed(stage: Stage, entered: Network, context: Context) -> Stage:
    """The stage for the network that it trains, see `Stage.completed_by`."""
    if stage.completed_by is None:
        return stage
    return stage.completed_by(stage, entered, context=context)


def train_step(context: Context, stage: Stage, plan: StagePlan) -> TrainStep:
    """The stage's jitted step, made once for all stages with the same program."""
    return context.once(
        ("train", *_step_key(stage, plan)),
        lambda: _program(context, stage, plan).jitted(context.sharding),
    )


def counted_step(context: Context, stage: Stage, plan: StagePlan) -> CountedStep:
    """The multiplications of the stage's step, jitted; made once like `train_step`."""
    return context.once(
        ("counted", *_step_key(stage, plan)),
        lambda: jax.jit(
            _program(context, stage, plan).counts, out_shardings=context.sharding
        ),
    )


def _step_key(stage: Stage, plan: StagePlan) -> tuple[Hashable, ...]:
    return (
        stage.optimizer,
        plan.steps,
        shapes_of(plan.entered),
        stage.parametrisation,
        stage.within,
        stage.schedules if callable(stage.schedules) else (*stage.schedules.items(),),
    )


def _program(context: Context, stage: Stage, plan: StagePlan) -> StepProgram:
    return StepProgram(
        model=plan.entered.model,
        tx=optax.with_extra_args_support(plan.optimizer),
        preprocess=context.preprocess,
        task=context.task,
        steps_per_epoch=context.steps_per_epoch,
        parametrisation=stage.parametrisation,
        schedules=plan.schedules,
        kernels=plan.kernels,
        within=stage.within,
    )


def objective_of(context: Context, stage: Stage, entered: Network) -> Objective:
    """The stage's objective; FLOPs-aware weights follow from what it starts from."""
    if not stage.flops_aware:
        return stage.objective
    params = entered.params
    if entered.mask is not None:
        params = pruning.masks.apply(entered.mask, params)
    example = jnp.zeros(context.example.shape, context.example.dtype)
    pruned = entered.with_params(params)
    terms = tuple(
        flops_aware(term, pruned, example) if term.over == "maps" else term
        for term in stage.objective.terms
    )
    return replace(stage.objective, terms=terms)


def _optimizer(
    context: Context,
    stage: Stage,
    steps: int,
    found: kernels.Kernels,
    groups: Callable[[], Groups],
    network: Network,
) -> optax.GradientTransformation:
    """The stage's optimizer, with the mask of what is trained."""
    mask, trained = network.mask, network.params
    if stage.parametrisation is not None:
        trained = jax.eval_shape(stage.parametrisation.init, network.params)
        mask = None if mask is None else lift(mask, trained)
    return stage.optimizer(
        steps=steps,
        steps_per_epoch=context.steps_per_epoch,
        mask=mask,
        seed=context.stage_seed(stage.path),
        **accepted(
            stage.optimizer,
            kernels=found,
            groups=groups,
            weights=network.params,
            trained=trained,
        ),
    )


def _apart(stage: Stage, state: TrainState, trained: Network) -> tuple[str, ...]:
    if stage.on_exit is not None or state.model_state.keys() != {*trained.model_state}:
        return ("params", "model_state")
    through = follow(stage.parametrisation, state.opt_state)
    return () if through == parametrisations.identity else ("params",)


def _steps(context: Context, stage: Stage) -> int:
    """The batches of a stage."""
    steps = round(stage.epochs * context.steps_per_epoch)
    if stage.epochs > 0 and not 1 <= steps < 2**31:
        raise ValueError(
            f"epochs must be 0, or 1 to {2**31 - 1} steps long, got {stage.epochs}"
            f" epochs of {context.steps_per_epoch} steps"
        )
    return steps


def _schedules(context: Context, stage: Stage, steps: int) -> Mapping[str, Schedule]:
    """The schedules of a stage, made for its length where they follow from it."""
    if not callable(stage.schedules):
        return stage.schedules
    return stage.schedules(steps=steps, steps_per_epoch=context.steps_per_epoch)


def _first_weights(
    stage: Stage, found: kernels.Kernels
) -> Callable[[Params, Mask], Params] | None:
    """What training starts from, given the kernels where they are asked for."""
    if stage.first_weights is None:
        return None
    return partial(stage.first_weights, **accepted(stage.first_weights, kernels=found))


def _check(
    context: Context,
    stage: Stage,
    entered: Network,
    schedules: Mapping[str, Schedule],
) -> None:
    others = stage.parametrisation is not None
    scheduled.check(schedules, entered.model_state, others=others)
    terms = [term for term in stage.objective.terms if term.over == "maps"]
    if stage.flops_aware and not terms:
        raise ValueError("flops_aware needs a term over maps, got none")
    names = context.maps_of(entered, train=True) if terms else []
    for term in terms:
        try:
            rules = [(pattern, True) for pattern in term.layers]
            trees.select(dict.fromkeys(names, 0), rules, default=False)
        except ValueError as error:
            raise ValueError(f"layers of a term over maps: {error}") from None
