"""The options of a comparison of methods, and their checks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from experiments import build, methods
from experiments.checks import check
from experiments.config import (
    Config,
    Data,
    Init,
    Model,
    Optim,
    Pretrain,
    Prune,
    Run,
)
from experiments.methods import SparseMethod

__all__ = ["FREE", "Cell", "SparseTraining", "base", "checked"]

FREE = ("preset", "methods", "seeds", "dir", "data.dir", "data.threads")
"""Options that may change when a comparison is continued."""


@dataclass(frozen=True)
class SparseTraining:
    """All options."""

    preset: Literal["full", "cifar100", "demo"] = "full"
    """Where the other options start from."""
    methods: tuple[str, ...] = ()
    """METHOD [NAME=VALUE ...], one text for each; `dense` comes by itself. What counts
    optimizer steps is a number of them, a share (end=75%) or epochs (interval=2ep)."""
    sparsity: float = 0.9
    """Target of all methods that take one; N:M has its own."""
    rules: tuple[str, ...] = ()
    """Which leaves are prunable: REGEX=true or REGEX=false, first match wins."""
    epochs: float = 100
    """Length of every training."""
    lr: float = 0.1
    """Peak learning rate."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of initialisation, data order, augmentation and random masks."""
    dir: str | None = None
    """Where everything is written. Default: runs/sparse_training-PRESET."""
    eval_every: int = 1
    """Epochs between evaluations on the hold-out."""
    log_every: int = 100
    """Steps between lines of metrics and of masks."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    init: Init = field(default_factory=Init)


@dataclass(frozen=True)
class Cell:
    """One way to train: a method, or densely.

    Attributes:
      name: of its records and directories.
      text: as given.
      method: None is dense.
    """

    name: str
    text: str
    method: SparseMethod | None


def base(options: SparseTraining) -> Config:
    """The options that every experiment knows."""
    return Config(
        data=options.data,
        model=options.model,
        optim=options.optim,
        init=options.init,
        pretrain=Pretrain(epochs=options.epochs, lr=options.lr),
        prune=Prune(sparsity=options.sparsity, rules=options.rules),
        run=Run(
            stages=("pretrain",),
            eval_every=options.eval_every,
            log_every=options.log_every,
        ),
    )


def checked(options: SparseTraining) -> list[Cell]:
    """The cells, dense first, once all options are found to be in range.

    Raises:
      ValueError: a value is out of range.
    """
    config = base(options)
    check(config)
    if not options.seeds or len(set(options.seeds)) != len(options.seeds):
        raise ValueError(f"--seeds must be distinct, at least one, got {options.seeds}")
    if min(options.seeds) < 0:
        raise ValueError(f"--seeds must be >= 0, got {options.seeds}")
    rules = build.prunable_rules(config.prune)
    texts = [text for text in options.methods if text.split() != ["dense"]]
    cells = [Cell("dense", "dense", None)]
    cells += [_cell(text, options.sparsity, rules) for text in texts]
    _refuse_twice([cell.name for cell in cells])
    return cells


def _cell(text: str, sparsity: float, rules: tuple[tuple[str, bool], ...]) -> Cell:
    name, *pairs = text.split() or [""]
    try:
        method = methods.parse(name, pairs, target=sparsity, rules=rules)
    except ValueError as error:
        raise ValueError(f"--methods: {text!r}: {error}") from None
    return Cell(re.sub(r"[^\w.=-]+", "-", "_".join([name, *pairs])), text, method)


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"--methods names {', '.join(twice)} more than once")
