"""From options to the library's values: model, data, optimizers."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import optax

from dst_jax import cost, data, models
from dst_jax.kernels import Kernel
from dst_jax.runs import Run
from dst_jax.train import (
    Console,
    Context,
    Stage,
    chain,
    learning_rate,
    tasks,
)
from dst_jax.train.optimizer import Optimizer
from dst_jax.typing import Mask
from experiments import terms
from experiments.config import Config, Model, Optim, Prune, network
from experiments.methods import SparseMethod

__all__ = [
    "build_context",
    "build_model",
    "build_optimizer",
    "prunable_rules",
    "rehearse",
]


def build_model(config: Model, *, num_classes: int) -> Any:
    """The network; options that are not given are left to the model."""
    dtype = jnp.dtype(config.dtype)
    return models.create(
        config.name, num_classes=num_classes, dtype=dtype, **network(config)
    )


def build_context(config: Config, run: Run, console: Console) -> Context:
    """Data, model and devices; reads the data."""
    dataset = data.load(
        config.data.name,
        data_dir=config.data.dir,
        image_size=config.data.image_size,
        holdout=config.data.holdout,
        augment=config.data.augment,
        standardise=config.data.standardise,
    )
    return Context(
        model=build_model(config.model, num_classes=dataset.num_classes),
        dataset=dataset,
        run=run,
        task=tasks.classification(label_smoothing=config.optim.label_smoothing),
        batch_size=config.data.batch_size,
        eval_batch_size=config.data.eval_batch_size,
        seed=config.run.seed,
        dtype=config.model.dtype,
        prunable=prunable_rules(config.prune),
        log_every=config.run.log_every,
        eval_every=config.run.eval_every,
        save_every=config.run.save_every,
        threads=config.data.threads,
        workers=config.data.workers,
        console=console,
    )


def rehearse(config: Config, stages: list[Stage]) -> None:
    """Builds what needs no data, so that a bad value is refused before data is read.

    Raises:
      ValueError: from the library, naming the value and what is allowed.
    """
    if config.data.name not in data.names():
        raise ValueError(
            f"--data.name must be one of {data.names()}, got {config.data.name!r}"
        )
    if config.data.augment is not None:
        data.augments.by_names(config.data.augment)
    for name in config.run.accelerators:
        cost.accelerators.create(name)
    build_model(config.model, num_classes=2)
    for stage in stages:
        # So long that no number of steps is beyond its end.
        stage.optimizer(steps=10**9, steps_per_epoch=10**6, mask=None, seed=0)


def prunable_rules(prune: Prune) -> tuple[tuple[str, bool], ...]:
    """`prune.rules` as `((regex, bool), ...)`."""
    allowed = {"true": True, "false": False}
    pairs = terms.pairs("prune.rules", prune.rules)
    for pattern, value in pairs:
        if value not in allowed:
            raise ValueError(
                f"--prune.rules: {pattern}={value} must end in =true or =false"
            )
    return tuple((pattern, allowed[value]) for pattern, value in pairs)


def build_optimizer(
    optim: Optim,
    *,
    lr: float,
    warmup: float = 0.0,
    method: SparseMethod | None = None,
) -> Optimizer:
    """A stage's optimizer, once its steps and its mask are known."""

    def build(
        *,
        steps: int,
        steps_per_epoch: int,
        mask: Mask,
        seed: int,
        kernels: Mapping[str, Kernel] | None = None,
    ) -> optax.GradientTransformation:
        updates = max(steps // optim.accumulate, 1)
        warmup_updates = round(warmup * steps_per_epoch / optim.accumulate)
        schedule = learning_rate(
            lr,
            steps=updates,
            decay=optim.decay,
            warmup=min(warmup_updates, updates),
            milestones=optim.milestones,
            factor=optim.factor,
        )
        sparsify = None
        if method is not None:
            sparsify = method.around(
                updates=updates,
                per_epoch=steps_per_epoch / optim.accumulate,
                seed=seed,
                schedule=schedule,
                kernels=kernels,
            )
        return chain(
            schedule,
            mask=mask,
            rule=optim.rule,
            momentum=optim.momentum,
            nesterov=optim.nesterov,
            weight_decay=optim.weight_decay,
            clip=optim.clip,
            accumulate=optim.accumulate,
            sparsify=sparsify,
            kernels=kernels,
        )

    return build
