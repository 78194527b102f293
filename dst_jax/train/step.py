"""The jitted steps: one for training, one for evaluation."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding
from jaxtyping import Array

from dst_jax import activations, cost, pruning
from dst_jax.kernels import Kernel
from dst_jax.models.linen import as_model
from dst_jax.parametrisations import Parametrisation, State
from dst_jax.train import scheduled, tasks
from dst_jax.train.objective import Objective
from dst_jax.train.scheduled import Schedules
from dst_jax.train.state import TrainState, follow, is_masked
from dst_jax.train.tasks import Task, classification
from dst_jax.typing import Model, Params, Variables, Within

__all__ = [
    "MAPS",
    "CountedStep",
    "EvalStep",
    "Preprocess",
    "StepProgram",
    "TrainStep",
    "make_eval_step",
    "make_train_step",
]

Batch = dict[str, Array]
Preprocess = Callable[[Array], Array]
"""uint8 images to the network's input, on the device."""
TrainStep = Callable[
    [TrainState, Batch, Objective], tuple[TrainState, dict[str, Array]]
]
CountedStep = Callable[[TrainState, Batch, Objective], cost.TrainingCounts]
EvalStep = Callable[[Params, Variables, Batch], dict[str, Any]]

MAPS = ("zeros", "elements", "zero_tiles", "tiles", "union_tile")
"""Sums that describe the activation maps."""

_RESERVED = (*MAPS, "counts")


def make_train_step(
    model: Model | nn.Module,
    optimizer: optax.GradientTransformation,
    *,
    preprocess: Preprocess,
    task: Task | None = None,
    steps_per_epoch: int = 1,
    out_sharding: NamedSharding | None = None,
    parametrisation: Parametrisation | None = None,
    schedules: Schedules | None = None,
    kernels: Mapping[str, Kernel] | None = None,
) -> TrainStep:
    """`(state, batch, objective) -> (state, metrics)`, jitted; `state` is donated.

    One step serves every stage. Metrics are scalars: `loss`, its parts, and what the
    task measures of a batch.

    Args:
      model: the network's function, or a Linen module.
      optimizer: holds the mask or chooses it, if there is one.
      preprocess: uint8 images to the network's input.
      task: the task of objectives without one of their own; classification by default.
      steps_per_epoch: for what the objective counts in epochs.
      out_sharding: sharding of the new state and the metrics.
      parametrisation: from what is trained to the network's weights; None follows from
        the optimizer (`state.follow`). Gradients are taken through it.
      schedules: variables that follow the step. A step sees their values at the steps
        done before it.
      kernels: kernels of the network, for penalties on weights; by name if None.

    >>> step = make_train_step(nn.Dense(2), optax.sgd(0.1), preprocess=lambda x: x)
    """
    program = StepProgram(
        as_model(model),
        optax.with_extra_args_support(optimizer),
        preprocess,
        classification() if task is None else task,
        steps_per_epoch,
        parametrisation,
        schedules or {},
        kernels,
    )
    return program.jitted(out_sharding)


@dataclass(frozen=True)
class StepProgram:
    """What a training step is made of; see `make_train_step` for its attributes."""

    model: Model
    tx: optax.GradientTransformationExtraArgs
    preprocess: Preprocess
    task: Task
    steps_per_epoch: int
    parametrisation: Parametrisation | None
    schedules: Schedules
    kernels: Mapping[str, Kernel] | None
    within: Within = nullcontext

    def jitted(self, out_sharding: NamedSharding | None = None) -> TrainStep:
        """`train_step`, jitted; it donates the state."""
        return jax.jit(self.train_step, donate_argnums=0, out_shardings=out_sharding)

    def train_step(
        self, state: TrainState, batch: Batch, objective: Objective
    ) -> tuple[TrainState, dict[str, Array]]:
        """Gradients of the objective, the optimizer's step, the scheduled variables."""
        objective = objective.of(self.task)
        adapted = objective.adapted(state.adaptive)
        x, labels = self.preprocess(batch["image"]), batch["label"]
        if objective.task is not None:
            tasks.check_labels(objective.task, labels)
        loss_fn = partial(self.loss, state=state, x=x, labels=labels, objective=adapted)
        grad_fn = jax.value_and_grad(loss_fn, has_aux=True)
        (loss, (parts, updated)), grads = grad_fn(state.params)
        updates, opt_state = self.tx.update(grads, state.opt_state, state.params)
        metrics = {"loss": loss, **parts}
        adaptive = objective.adapt(state.adaptive, metrics)
        after = scheduled.values(self.schedules, state.step + 1)
        new = TrainState(
            step=state.step + 1,
            params=optax.apply_updates(state.params, updates),
            model_state=scheduled.put_anew({**state.model_state, **updated}, after),
            opt_state=opt_state,
            key=state.key,
            adaptive=adaptive,
        )
        return new, metrics | objective.strengths(adaptive)

    def counts(
        self, state: TrainState, batch: Batch, objective: Objective
    ) -> cost.TrainingCounts:
        """The multiplications of `train_step` on this batch, see `cost.training`."""
        objective = objective.of(self.task).adapted(state.adaptive)

        def loss(trained: Params, x: Array, labels: Array) -> tuple[Array, Any]:
            return self.loss(
                trained, state=state, x=x, labels=labels, objective=objective
            )

        mask = pruning.get_mask(state.opt_state) if is_masked(state.opt_state) else None
        counted = cost.training(loss, has_aux=True, mask=mask)
        x = self.preprocess(batch["image"])
        return counted(state.params, x, batch["label"])

    def loss(
        self,
        trained: Params,
        *,
        state: TrainState,
        x: Array,
        labels: Array,
        objective: Objective,
    ) -> tuple[Array, tuple[dict[str, Array], Variables]]:
        """The loss, its parts and what else is measured, and updated collections."""
        now = scheduled.values(self.schedules, state.step)
        through = follow(self.parametrisation, state.opt_state)
        weights = through(trained, State(state.opt_state, state.step, now))
        # Not what the state holds: see `put_anew` for what a GPU may leave there.
        model_state = scheduled.put(state.model_state, now)
        with self.within():
            outputs, maps, updated = self.model(
                {"params": weights, **model_state},
                x,
                train=True,
                rngs={"dropout": jax.random.fold_in(state.key, state.step)},
            )
        loss, parts = objective(
            outputs,
            labels,
            maps=maps,
            weights=weights,
            trained=trained,
            kernels=self.kernels,
            epoch=state.step / self.steps_per_epoch,
            step=state.step,
        )
        return loss, (parts, updated)


def make_eval_step(
    model: Model | nn.Module,
    *,
    preprocess: Preprocess,
    task: Task | None = None,
    count: bool = True,
    union_tile: int = 0,
    out_sharding: NamedSharding | None = None,
) -> EvalStep:
    """`(params, model_state, batch) -> sums`, jitted; what is counted is exact.

    The sums are the task's, `examples` (int32), `zeros` and `elements` (of every map:
    zeros per example, elements of one example); with `union_tile`, this and likewise
    `zero_tiles` and `tiles`; with `count`, `counts` (see `cost.count`).

    Args:
      model: the network's function, or a Linen module.
      preprocess: uint8 images to the network's input.
      task: whose sums; classification by default.
      count: whether multiplications are counted.
      union_tile: side of the tiles of `activations.union_sparsity`; 0 for none.
      out_sharding: sharding of the sums.

    >>> step = make_eval_step(nn.Dense(2), preprocess=lambda x: x, count=False)
    """
    model = as_model(model)
    task = classification() if task is None else task

    def eval_step(params: Params, model_state: Variables, batch: Batch) -> Any:
        def forward(variables: Variables, x: Array) -> tuple[Any, Any]:
            return model(variables, x, train=False, rngs=None)[:2]

        variables = {"params": params, **model_state}
        x, labels = preprocess(batch["image"]), batch["label"]
        tasks.check_labels(task, labels)
        sums: dict[str, Any] = {}
        if count:
            counted = cost.count(forward, weights=0, with_output=True)
            (outputs, maps), sums["counts"] = counted(variables, x)
        else:
            outputs, maps = forward(variables, x)
        own = dict(task.sums(outputs, labels))
        taken = sorted(own.keys() & set(_RESERVED))
        if taken:
            raise ValueError(f"a task's sums must not be called {taken}")
        if union_tile:
            sums["zero_tiles"] = activations.union_counts(maps, union_tile)
            sums["union_tile"] = jnp.int32(union_tile)
            sums["tiles"] = {
                name: jnp.int32(activations.tiles_of(x, union_tile))
                for name, x in maps.items()
            }
        return sums | {
            **own,
            "examples": jnp.int32(len(labels)),
            "zeros": activations.counts(maps),
            "elements": {name: jnp.int32(x[0].size) for name, x in maps.items()},
        }

    return jax.jit(eval_step, out_shardings=out_sharding)
