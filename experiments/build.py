"""From options to the library's values: penalties, optimizers, stages."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax

from dst_jax import cost, data, models, penalties, pruning
from dst_jax.runs import Run
from dst_jax.train import (
    Narrator,
    Setup,
    Stage,
    Term,
    chain,
    learning_rate,
    stages,
)
from dst_jax.train.optimizer import Optimizer
from dst_jax.train.stages import Thresholding
from dst_jax.typing import Mask, Params
from experiments import methods, terms
from experiments.config import Config, Model, Optim, Prune, network
from experiments.methods import Span, SparseMethod

__all__ = [
    "build_model",
    "build_optimizer",
    "build_setup",
    "build_stages",
    "method_of",
    "prunable_rules",
    "rehearse",
]


def build_model(config: Model, *, num_classes: int) -> Any:
    """The network; options that are not given are left to the model."""
    dtype = jnp.dtype(config.dtype)
    return models.create(
        config.name, num_classes=num_classes, dtype=dtype, **network(config)
    )


def build_setup(config: Config, run: Run, narrator: Narrator) -> Setup:
    """Data, model and devices; reads the data."""
    dataset = data.load(
        config.data.name,
        data_dir=config.data.dir,
        image_size=config.data.image_size,
        holdout=config.data.holdout,
        augment=config.data.augment,
        standardise=config.data.standardise,
    )
    return Setup(
        model=build_model(config.model, num_classes=dataset.num_classes),
        dataset=dataset,
        run=run,
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
        narrator=narrator,
    )


def build_stages(config: Config) -> list[Stage]:
    """The stages in the order of `run.stages`, the control after the baseline."""
    smoothing = config.optim.label_smoothing
    if "pretrain" in config.run.stages:
        optimizer = build_optimizer(
            config.optim, lr=config.pretrain.lr, warmup=config.optim.warmup_epochs
        )
        baseline = stages.pretrain(
            epochs=config.pretrain.epochs,
            optimizer=optimizer,
            label_smoothing=smoothing,
        )
    else:
        baseline = stages.initial(
            build_optimizer(config.optim, lr=config.activation.lr)
        )
    sparse: list[Stage] = []
    start = baseline.name
    for name in config.run.stages:
        if name == "sparsify_weights":
            sparse += _weight_stages(config, start=start)
        elif name == "sparsify_jointly":
            activation = terms.term("activation", config.activation)
            sparse += _weight_stages(config, start=start, activation=activation)
        elif name == "sparsify_activations":
            sparse += _activation_stages(config, start=start)
        start = name if name != "pretrain" else start
    if not config.run.control:
        return [baseline, *sparse]
    control = stages.control(
        epochs=sum(stage.epochs for stage in sparse),
        optimizer=build_optimizer(config.optim, lr=config.activation.lr),
        start=baseline.name,
        label_smoothing=smoothing,
    )
    return [baseline, control, *sparse]


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


def _weight_stages(
    config: Config, *, start: str, activation: Term | None = None
) -> list[Stage]:
    prune = config.prune
    if prune.method is not None:
        return [_method_stage(config, start=start, activation=activation)]
    return stages.sparsify_weights(
        prune=_pruner(prune),
        induce_epochs=prune.induce_epochs,
        finetune_epochs=prune.finetune_epochs,
        optimizer=build_optimizer(config.optim, lr=prune.lr),
        penalty=terms.term("prune", prune),
        start=start,
        activation=activation,
        flops_aware=activation is not None and config.activation.flops_aware,
        label_smoothing=config.optim.label_smoothing,
        prunable=prunable_rules(prune),
    )


def _activation_stages(config: Config, *, start: str) -> list[Stage]:
    threshold, thresholding = config.activation.threshold, None
    if threshold is not None:
        thresholding = Thresholding(threshold, config.activation.threshold_kind)
    return stages.sparsify_activations(
        epochs=config.activation.epochs,
        optimizer=build_optimizer(config.optim, lr=config.activation.lr),
        penalty=terms.term("activation", config.activation),
        start=start,
        target=terms.target(config.activation),
        flops_aware=config.activation.flops_aware,
        label_smoothing=config.optim.label_smoothing,
        thresholding=thresholding,
        threshold_epochs=config.activation.threshold_epochs,
    )


def _pruner(prune: Prune) -> Callable[[Params], Mask]:
    rules = prunable_rules(prune)
    if prune.sparsity is None:
        return partial(pruning.masks.threshold, t=prune.threshold, rules=rules)
    return partial(
        pruning.masks.magnitude,
        sparsity=prune.sparsity,
        scope=prune.scope,
        rules=rules,
    )


def _method_stage(config: Config, *, start: str, activation: Term | None) -> Stage:
    prune = config.prune
    method = method_of(prune)
    rule = {}
    if prune.method_start == "magnitude":
        choose = _pruner(prune)
        rule["mask"] = lambda params, _: choose(params)
    return stages.sparse_training(
        method=method.name,
        epochs=prune.induce_epochs + prune.finetune_epochs,
        optimizer=build_optimizer(config.optim, lr=prune.lr, method=method),
        start=start,
        dense_weights=method.dense_weights,
        activation=activation,
        flops_aware=activation is not None and config.activation.flops_aware,
        label_smoothing=config.optim.label_smoothing,
        **rule,
    )


def method_of(prune: Prune) -> SparseMethod:
    """`prune.method` with what other options of the group say for it."""
    given: dict[str, Any] = {
        name: value
        for name, value in (
            ("sparsity", prune.sparsity),
            ("threshold", prune.threshold),
        )
        if value is not None
    }
    if prune.method == "threshold":
        shape = terms.shape("prune", prune)
        given["induce"] = Span(prune.induce_epochs, "epochs")
        given["strength"] = prune.strength
        given["penalty"] = penalties.get(prune.penalty, **shape)
    try:
        return methods.parse(
            str(prune.method),
            prune.method_options,
            given=given,
            rules=prunable_rules(prune),
        )
    except ValueError as error:
        raise ValueError(f"--prune.method: {error}") from None


def build_optimizer(
    optim: Optim,
    *,
    lr: float,
    warmup: float = 0.0,
    method: SparseMethod | None = None,
) -> Optimizer:
    """A stage's optimizer, once its steps and its mask are known."""

    def build(
        *, steps: int, steps_per_epoch: int, mask: Mask, seed: int
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
        )

    return build
