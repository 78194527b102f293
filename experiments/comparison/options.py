"""The options of a comparison, and their checks."""

from dataclasses import dataclass, field
from typing import Literal

from experiments.checks import check
from experiments.comparison.grid import Setting, parse
from experiments.config import Config, Data, Init, Model, Optim, Pretrain, Run

__all__ = ["FREE", "Cells", "Compare", "base", "checked"]

FREE = (
    "preset",
    "grid",
    "fatrelu",
    "seeds",
    "margin",
    "sparsity",
    "test",
    "dir",
    "data.dir",
    "data.threads",
)
"""Options that may change when a comparison is continued."""


@dataclass(frozen=True)
class Cells:
    """Training of each cell, from its seed's baseline."""

    epochs: float = 30
    """Length, of the dense control too."""
    lr: float = 0.02
    """Peak learning rate."""
    warmup_epochs: float = 0.0
    """Over so many epochs the strength rises linearly from 0."""


@dataclass(frozen=True)
class Compare:
    """All options."""

    preset: Literal["full", "cifar100", "demo"] = "full"
    """Where the other options start from."""
    grid: tuple[str, ...] = ()
    """PENALTY strength=NUMBER,... [OPTION=NUMBER,...], one text for each penalty."""
    fatrelu: tuple[float, ...] = ()
    """Every cell of the grid is there once more with FATReLUs that cost the hold-out at
    most so many points of accuracy."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of initialisation, data order and augmentation."""
    margin: float = 0.1
    """How many points of hold-out accuracy below the dense control still match it."""
    sparsity: float | None = None
    """Choose the most accurate setting of at least so many percent zeros instead."""
    test: bool = True
    """Whether to end with the test set on what the hold-out chose. Without it, some of
    the seeds, or a part of the grid, can be trained before anything is chosen."""
    dir: str | None = None
    """Where everything is written. Default: runs/compare_penalties-PRESET."""
    eval_every: int = 1
    """Epochs between evaluations on the hold-out."""
    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    optim: Optim = field(default_factory=Optim)
    pretrain: Pretrain = field(default_factory=Pretrain)
    cells: Cells = field(default_factory=Cells)
    init: Init = field(default_factory=Init)


def base(options: Compare) -> Config:
    """The options that every experiment knows."""
    return Config(
        data=options.data,
        model=options.model,
        optim=options.optim,
        pretrain=options.pretrain,
        init=options.init,
        run=Run(stages=("pretrain",), eval_every=options.eval_every, log_every=100),
    )


def checked(options: Compare) -> list[Setting]:
    """The grid, once all options are found to be in range.

    Raises:
      ValueError: a value is out of range.
    """
    if not options.grid:
        raise ValueError("--grid is empty: name at least one penalty")
    if len(set(options.fatrelu)) != len(options.fatrelu):
        raise ValueError(f"--fatrelu must be distinct, got {options.fatrelu}")
    if not all(0 <= budget <= 100 for budget in options.fatrelu):
        raise ValueError(f"--fatrelu must be in [0, 100], got {options.fatrelu}")
    settings = parse(options.grid, options.fatrelu)
    if len(set(options.seeds)) != len(options.seeds) or not options.seeds:
        raise ValueError(f"--seeds must be distinct, at least one, got {options.seeds}")
    if not 0 <= options.margin <= 100:
        raise ValueError(f"--margin must be in [0, 100], got {options.margin}")
    if options.sparsity is not None and not 0 <= options.sparsity <= 100:
        raise ValueError(f"--sparsity must be in [0, 100], got {options.sparsity}")
    for name in ("epochs", "warmup_epochs"):
        value = getattr(options.cells, name)
        if not 0 <= value < float("inf"):
            raise ValueError(f"--cells.{name} must be >= 0 and finite, got {value}")
    if not 0 < options.cells.lr < float("inf"):
        raise ValueError(f"--cells.lr must be > 0 and finite, got {options.cells.lr}")
    if options.data.holdout == 0:
        raise ValueError("--data.holdout must be above 0: strengths are chosen on it")
    check(base(options))
    return settings
