"""Options of a comparison of penalties."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from experiments.grid.options import GridOptions, refuse_repeated
from experiments.options import Config, PretrainOptions, RunOptions
from experiments.options.annotations import (
    FREE,
    MOST_EPOCHS,
    NOT_NEGATIVE,
    PERCENT,
    POSITIVE,
)

if TYPE_CHECKING:
    from experiments.grid.engine import Comparison

__all__ = ["CellOptions", "PenaltyGrid"]


@dataclass(frozen=True)
class CellOptions:
    """Training of each cell, from its seed's baseline."""

    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 30
    """Length, of the dense control too."""
    lr: Annotated[float, POSITIVE] = 0.02
    """Peak learning rate."""
    warmup_epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 0.0
    """Epochs over which the strength rises linearly from 0."""


@dataclass(frozen=True)
class PenaltyGrid(GridOptions):
    """All options."""

    grid: Annotated[tuple[str, ...], FREE] = ()
    """PENALTY strength=NUMBER,... [OPTION=NUMBER,...], one text for each penalty, which
    may be MODULE:ATTRIBUTE."""
    fatrelu: Annotated[tuple[float, ...], PERCENT, FREE] = ()
    """Every cell of the grid is there once more with FATReLUs that cost the hold-out at
    most as many points of accuracy."""
    margin: Annotated[float, PERCENT, FREE] = 0.1
    """How many points of hold-out accuracy below the dense control still match it."""
    sparsity: Annotated[float | None, PERCENT, FREE] = None
    """Choose the most accurate setting of at least as many percent zeros instead."""
    test: Annotated[bool, FREE] = True
    """Whether to end with the test set on what the hold-out chose. Without it, some of
    the seeds, or a part of the grid, can be trained before anything is chosen."""
    pretrain: PretrainOptions = field(default_factory=PretrainOptions)
    cells: CellOptions = field(default_factory=CellOptions)

    def check(self) -> None:
        """Checks ranges and contradictions; needs neither JAX nor data.

        >>> PenaltyGrid().check()
        Traceback (most recent call last):
        ValueError: --grid is empty: name at least one penalty
        """
        if not self.grid:
            raise ValueError("--grid is empty: name at least one penalty")
        super().check()
        refuse_repeated("fatrelu", self.fatrelu)
        if self.data.holdout == 0:
            raise ValueError(
                "--data.holdout must be above 0: strengths are chosen on it"
            )

    def base(self) -> Config:
        """The options as every experiment has them.

        >>> PenaltyGrid(eval_every=2).base().run.eval_every
        2
        """
        run = RunOptions(
            stages=("pretrain",), eval_every=self.eval_every, log_every=100
        )
        return Config(
            data=self.data,
            model=self.model,
            task=self.task,
            optim=self.optim,
            pretrain=self.pretrain,
            init=self.init,
            run=run,
        )

    def comparison(self) -> "Comparison":
        """The settings of the grid and their training.

        Raises:
          ValueError: a text of another form, an unknown penalty or shape parameter.

        >>> [c.name for c in PenaltyGrid(grid=("l1 strength=0.5",)).comparison().cells]
        ['baseline', 'control', 'l1_0.5']
        """
        from experiments.grid.penalties.comparison import PenaltyComparison

        return PenaltyComparison(self)
