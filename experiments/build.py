"""From options to the library's values: penalties, optimizers, stages."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import optax

from dst_jax import data, models, penalties, pruning
from dst_jax.train import Stage, Term, chain, learning_rate, stages
from dst_jax.train.optimizer import Optimizer
from dst_jax.typing import Mask, Params
from experiments.config import Activation, Config, Model, Prune

__all__ = ["build_model", "build_stages", "prunable_rules", "rehearse"]

_PENALTIES = {
    "l1": penalties.l1,
    "hoyer_square": penalties.hoyer_square,
    "transformed_l1": penalties.transformed_l1,
}


def build_model(config: Model, *, num_classes: int) -> Any:
    """The network; options that are not given are left to the model."""
    options = {"stem": config.stem, "width": config.width}
    options["relu_logits"] = config.relu_logits
    given = {name: value for name, value in options.items() if value is not None}
    dtype = jnp.dtype(config.dtype)
    return models.create(config.name, num_classes=num_classes, dtype=dtype, **given)


def build_stages(config: Config) -> list[Stage]:
    """The stages in the order of `run.stages`, the control after the baseline."""
    smoothing = config.optim.label_smoothing
    if config.run.stages[0] == "pretrain":
        optimizer = build_optimizer(
            config, lr=config.pretrain.lr, warmup=config.optim.warmup_epochs
        )
        baseline = stages.pretrain(
            epochs=config.pretrain.epochs,
            optimizer=optimizer,
            label_smoothing=smoothing,
        )
    else:
        baseline = stages.initial(build_optimizer(config, lr=config.activation.lr))
    sparse: list[Stage] = []
    start = baseline.name
    for name in config.run.stages:
        if name == "sparsify_weights":
            sparse += _weight_stages(config, start=start)
        elif name == "sparsify_activations":
            sparse.append(_activation_stage(config, start=start))
        start = name if name != "pretrain" else start
    if not config.run.control:
        return [baseline, *sparse]
    control = stages.control(
        epochs=sum(stage.epochs for stage in sparse),
        optimizer=build_optimizer(config, lr=config.activation.lr),
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


def _weight_stages(config: Config, *, start: str) -> list[Stage]:
    prune = config.prune
    return stages.sparsify_weights(
        prune=_pruner(prune),
        induce_epochs=prune.induce_epochs,
        finetune_epochs=prune.finetune_epochs,
        optimizer=build_optimizer(config, lr=prune.lr),
        penalty=_term(prune),
        start=start,
        label_smoothing=config.optim.label_smoothing,
        prunable=prunable_rules(prune),
    )


def _activation_stage(config: Config, *, start: str) -> Stage:
    return stages.sparsify_activations(
        epochs=config.activation.epochs,
        optimizer=build_optimizer(config, lr=config.activation.lr),
        penalty=_term(config.activation),
        start=start,
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


def _term(part: Prune | Activation) -> Term:
    layers = part.layers if isinstance(part, Activation) else ()
    pairs = _pairs("activation.layers", layers)
    return Term(
        penalty=_PENALTIES[part.penalty],
        strength=part.strength,
        options={"a": part.a or 1.0} if part.penalty == "transformed_l1" else {},
        layers=tuple(pattern for pattern, _ in pairs),
        layer_weights=tuple(_number("activation.layers", x) for _, x in pairs),
    )


def _pairs(option: str, texts: tuple[str, ...]) -> list[tuple[str, str]]:
    for text in texts:
        if "=" not in text:
            raise ValueError(f"--{option}: {text!r} must be REGEX=VALUE")
    return [(head, tail) for head, _, tail in (t.rpartition("=") for t in texts)]


def _number(option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--{option}: {text!r} must be a number") from None


def build_optimizer(config: Config, *, lr: float, warmup: float = 0.0) -> Optimizer:
    """A stage's optimizer, once its steps and its mask are known."""
    optim = config.optim

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
