"""Checks of an experiment's options, before anything is loaded."""

from pathlib import Path
from typing import Any

from experiments.config import Config, Prune
from experiments.init import is_torchvision

__all__ = ["check"]

_AT_LEAST_1 = (
    "data.batch_size",
    "data.eval_batch_size",
    "run.log_every",
    "run.eval_every",
    "optim.accumulate",
)
_NOT_NEGATIVE = (
    "data.workers",
    "pretrain.epochs",
    "prune.induce_epochs",
    "prune.finetune_epochs",
    "prune.strength",
    "prune.threshold",
    "activation.epochs",
    "activation.strength",
    "activation.warmup_epochs",
    "activation.threshold",
    "activation.threshold_epochs",
    "optim.weight_decay",
    "optim.warmup_epochs",
    "run.save_every",
    "run.seed",
)
_POSITIVE = (
    "pretrain.lr",
    "prune.lr",
    "prune.a",
    "activation.lr",
    "activation.a",
    "activation.max_loss",
    "activation.gain",
)
_SHARES = (
    "data.holdout",
    "prune.sparsity",
    "activation.target",
    "optim.momentum",
    "optim.label_smoothing",
)


def check(config: Config) -> None:
    """Refuses bad values, naming the option, the value and what is allowed.

    Raises:
      ValueError: an option is out of range, or two contradict each other.
    """
    for name in _AT_LEAST_1:
        _require(config, name, lambda x: x >= 1, "at least 1")
    for name in _NOT_NEGATIVE:
        _require(config, name, lambda x: 0 <= x < float("inf"), ">= 0 and finite")
    for name in _POSITIVE:
        _require(config, name, lambda x: 0 < x < float("inf"), "> 0 and finite")
    for name in _SHARES:
        _require(config, name, lambda x: 0 <= x < 1, "in [0, 1)")
    _require(config, "data.image_size", lambda x: x >= 8, "at least 8")
    _check_pruning(config)
    _check_activation(config)
    _check_stages(config)


def _require(config: Config, name: str, holds: Any, allowed: str) -> None:
    """An option that is not given (None) is not checked."""
    group, option = name.split(".")
    value = getattr(getattr(config, group), option)
    if value is not None and not holds(value):
        raise ValueError(f"--{name} must be {allowed}, got {value}")


def _check_pruning(config: Config) -> None:
    prune = config.prune
    neither = prune.sparsity is None and prune.threshold is None
    needed = prune.method is None or prune.method_start == "magnitude"
    both = prune.sparsity is not None and prune.threshold is not None
    if both or (neither and needed):
        raise ValueError(
            "--prune.sparsity and --prune.threshold: give one and set the other to"
            f" None, got {prune.sparsity} and {prune.threshold}"
        )
    if prune.method is None:
        for name in ("method_options", "method_start"):
            value = getattr(prune, name)
            if value != getattr(Prune, name):
                raise ValueError(
                    f"--prune.{name} is for --prune.method, which is not given, got"
                    f" {value}"
                )
    for name, part in (("prune", prune), ("activation", config.activation)):
        if part.a is not None and part.penalty != "transformed_l1":
            raise ValueError(f"--{name}.a is for transformed_l1, not {part.penalty}")


def _check_activation(config: Config) -> None:
    part = config.activation
    if part.flops_aware and part.layers:
        raise ValueError(
            "--activation.flops_aware weighs the maps itself: leave out"
            f" --activation.layers, got {part.layers}"
        )
    if part.threshold is None and part.threshold_epochs is not None:
        raise ValueError(
            "--activation.threshold_epochs needs --activation.threshold, got"
            f" {part.threshold_epochs} and None"
        )
    if part.threshold is not None and "sparsify_activations" not in config.run.stages:
        raise ValueError(
            "--activation.threshold is for the stage sparsify_activations, got"
            f" {part.threshold} and the stages {config.run.stages}"
        )
    if part.target is not None and not part.strength > 0:
        raise ValueError(
            "--activation.target adapts the strength by factors: --activation.strength"
            f" must be > 0, got {part.strength}"
        )
    if part.target is not None and "sparsify_jointly" in config.run.stages:
        raise ValueError(
            "--activation.target is for the stage sparsify_activations, got"
            " sparsify_jointly"
        )


def _check_stages(config: Config) -> None:
    stages = config.run.stages
    if len(set(stages)) != len(stages):
        raise ValueError(f"--run.stages must name stages once each, got {stages}")
    if "pretrain" in stages[1:]:
        raise ValueError(f"--run.stages: pretrain comes first, got {stages}")
    if "sparsify_jointly" in stages and len(set(stages) - {"pretrain"}) > 1:
        raise ValueError(
            "--run.stages: sparsify_jointly takes the place of the other two, got"
            f" {stages}"
        )
    source = config.init.path
    if source is not None and not is_torchvision(source) and not Path(source).exists():
        raise ValueError(f"--init.from: {source} does not exist")
    if "pretrain" not in stages and config.init.path is None:
        first = stages[0] if stages else "nothing but evaluation"
        raise ValueError(
            f"--run.stages starts with {first}: give --init.from its weights"
        )
