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
    Target,
    Term,
    chain,
    learning_rate,
    stages,
)
from dst_jax.train.optimizer import Optimizer
from dst_jax.typing import Mask, Params
from experiments.config import Activation, Config, Model, Optim, Prune, network

__all__ = [
    "build_model",
    "build_optimizer",
    "build_setup",
    "build_stages",
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
            activation = _term("activation", config.activation)
            sparse += _weight_stages(config, start=start, activation=activation)
        elif name == "sparsify_activations":
            sparse.append(_activation_stage(config, start=start))
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
        stage.optimizer(steps=100, steps_per_epoch=10, mask=None)


def prunable_rules(prune: Prune) -> tuple[tuple[str, bool], ...]:
    """`prune.rules` as `((regex, bool), ...)`."""
    allowed = {"true": True, "false": False}
    pairs = _pairs("prune.rules", prune.rules)
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
    return stages.sparsify_weights(
        prune=_pruner(prune),
        induce_epochs=prune.induce_epochs,
        finetune_epochs=prune.finetune_epochs,
        optimizer=build_optimizer(config.optim, lr=prune.lr),
        penalty=_term("prune", prune),
        start=start,
        activation=activation,
        flops_aware=activation is not None and config.activation.flops_aware,
        label_smoothing=config.optim.label_smoothing,
        prunable=prunable_rules(prune),
    )


def _activation_stage(config: Config, *, start: str) -> Stage:
    return stages.sparsify_activations(
        epochs=config.activation.epochs,
        optimizer=build_optimizer(config.optim, lr=config.activation.lr),
        penalty=_term("activation", config.activation),
        start=start,
        target=_target(config.activation),
        flops_aware=config.activation.flops_aware,
        label_smoothing=config.optim.label_smoothing,
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


def _term(group: str, part: Prune | Activation) -> Term:
    layers = part.layers if isinstance(part, Activation) else ()
    pairs = _pairs("activation.layers", layers)
    options = {
        name: _number(f"{group}.options", text)
        for name, text in _pairs(f"{group}.options", part.options)
    }
    if part.a is not None:
        options["a"] = part.a
    try:
        penalties.get(part.penalty, **options)
    except ValueError as error:
        raise ValueError(f"--{group}.penalty: {error}") from None
    return Term(
        penalty=penalties.get(part.penalty),
        strength=part.strength,
        options=options,
        warmup=part.warmup_epochs if isinstance(part, Activation) else 0,
        layers=tuple(pattern for pattern, _ in pairs),
        layer_weights=tuple(_number("activation.layers", x) for _, x in pairs),
    )


def _target(part: Activation) -> Target | None:
    if part.target is None:
        return None
    return Target(part.target, part.max_loss, part.gain)


def _pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise ValueError(f"--{option}: {text!r} must be NAME=VALUE")
    return [(head, tail) for head, _, tail in (t.rpartition("=") for t in texts)]


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{option}: {text!r} must be a number") from None


def build_optimizer(optim: Optim, *, lr: float, warmup: float = 0.0) -> Optimizer:
    """A stage's optimizer, once its steps and its mask are known."""

    def build(
        *, steps: int, steps_per_epoch: int, mask: Mask
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
        return chain(
            schedule,
            mask=mask,
            rule=optim.rule,
            momentum=optim.momentum,
            nesterov=optim.nesterov,
            weight_decay=optim.weight_decay,
            clip=optim.clip,
            accumulate=optim.accumulate,
        )

    return build
