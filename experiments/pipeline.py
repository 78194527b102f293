"""The stages of a pipeline, from options: which, in what order, how optimised."""

from collections.abc import Callable
from functools import partial
from typing import Any

from dst_jax import penalties, pruning
from dst_jax.train import Stage, Term, stages
from dst_jax.train.stages import Thresholding
from dst_jax.typing import Mask, Params
from experiments import methods, terms
from experiments.build import build_optimizer, prunable_rules
from experiments.config import Config, Prune
from experiments.methods import Span, SparseMethod

__all__ = ["build_stages", "method_of"]


def build_stages(config: Config) -> list[Stage]:
    """The stages in the order of `run.stages`, the control after the baseline."""
    if "pretrain" in config.run.stages:
        optimizer = build_optimizer(
            config.optim, lr=config.pretrain.lr, warmup=config.optim.warmup_epochs
        )
        baseline = stages.pretrain(
            epochs=config.pretrain.epochs,
            optimizer=optimizer,
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
    )
    return [baseline, control, *sparse]


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
        prunable=prunable_rules(prune),
    )


def _method_stage(config: Config, *, start: str, activation: Term | None) -> Stage:
    prune = config.prune
    method = method_of(prune)
    rule = {}
    if prune.method_start == "magnitude":
        choose = _pruner(prune)
        rule["mask"] = choose
    return stages.sparse_training(
        method=method.name,
        epochs=prune.induce_epochs + prune.finetune_epochs,
        optimizer=build_optimizer(config.optim, lr=prune.lr, method=method),
        start=start,
        activation=activation,
        flops_aware=activation is not None and config.activation.flops_aware,
        **rule,
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
