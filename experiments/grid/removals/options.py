"""Options of a comparison of removals of channels."""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from experiments.grid.options import GridOptions
from experiments.options import (
    ChannelOptions,
    Config,
    PretrainOptions,
    RelaxationOptions,
    RunOptions,
)
from experiments.options.annotations import (
    FREE,
    MOST_EPOCHS,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
)

if TYPE_CHECKING:
    from experiments.grid.engine import Comparison

__all__ = ["PenaltyOptions", "RemovalGrid"]

T = TypeVar("T", ChannelOptions, RelaxationOptions)


@dataclass(frozen=True)
class PenaltyOptions:
    """Penalties on activation maps after a removal and after pruning of weights."""

    grid: Annotated[tuple[str, ...], FREE] = ()
    """PENALTY strength=NUMBER,... [OPTION=NUMBER,...], one text for each penalty."""
    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 20
    """Length of the training with the penalty."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate."""


@dataclass(frozen=True)
class RemovalGrid(GridOptions):
    """All options."""

    removals: Annotated[tuple[str, ...], FREE] = ()
    """SCORE [NAME=VALUE ...], one text for each removal, where the names are those of
    --channels (solver=exact, distillation=20); from each seed's baseline."""
    relaxations: Annotated[tuple[str, ...], FREE] = ()
    """PUSH [NAME=VALUE ...], one text for each continuous relaxation from each seed's
    baseline, where the names are those of --relaxation (target=0.3); each of its rounds
    is a cell, too."""
    controls: Annotated[bool, FREE] = True
    """Whether the widths of the first removal and of the first relaxation, and
    uniformly narrower ones which cost as much, are trained from scratch, too, as long
    as baseline and removal together."""
    sparsity: Annotated[float | None, SHARE] = None
    """Share of the weights that another cell prunes by magnitude, from the baseline and
    trained as long as a removal: the first half of dual sparse training."""
    pretrain: PretrainOptions = field(default_factory=PretrainOptions)
    channels: ChannelOptions = field(default_factory=ChannelOptions)
    relaxation: RelaxationOptions = field(default_factory=RelaxationOptions)
    penalties: PenaltyOptions = field(default_factory=PenaltyOptions)

    def check(self) -> None:
        """Checks ranges and contradictions; needs neither JAX nor data.

        >>> RemovalGrid().check()
        Traceback (most recent call last):
        ValueError: --removals is empty: name at least one score
        """
        if not self.removals:
            raise ValueError("--removals is empty: name at least one score")
        super().check()
        if self.channels.steps != 1:
            raise ValueError(
                f"--channels.steps must be 1 in a comparison, got {self.channels.steps}"
            )

    def base(self) -> Config:
        """The options as every experiment has them.

        >>> RemovalGrid(removals=("l2",)).base().run.stages
        ('pretrain', 'remove_channels')
        """
        relaxed = ("relaxation",) if self.relaxations else ()
        run = RunOptions(
            stages=("pretrain", "remove_channels", *relaxed),
            eval_every=self.eval_every,
            log_every=100,
        )
        return Config(
            data=self.data,
            model=self.model,
            task=self.task,
            optim=self.optim,
            init=self.init,
            pretrain=self.pretrain,
            channels=self.channels,
            relaxation=self.relaxation,
            run=run,
        )

    def removal(self, score: str, **options: object) -> ChannelOptions:
        """The options of one removal.

        Args:
          score: its score.
          options: fields that differ from those of all.

        Raises:
          ValueError: there is no such option.

        >>> RemovalGrid().removal("umm", distillation=20.0).distillation
        20.0
        """
        return _changed(self.channels, {"score": score, **options})

    def relaxed(self, push: str, **options: object) -> RelaxationOptions:
        """The options of one relaxation.

        Args:
          push: what decides its gates.
          options: fields that differ from those of all.

        Raises:
          ValueError: there is no such option.

        >>> RemovalGrid().relaxed("dais", target=0.25).target
        0.25
        """
        return _changed(self.relaxation, {"push": push, **options})

    def comparison(self) -> "Comparison":
        """The removals, their controls and what is trained after them.

        Raises:
          ValueError: an unknown score or option, or a value out of range.

        >>> [c.name for c in RemovalGrid(removals=("l2",)).comparison().cells]
        ['baseline', 'control', 'l2', 'same_widths', 'narrower']
        """
        from experiments.grid.removals.comparison import RemovalComparison

        return RemovalComparison(self)


def _changed(options: T, given: dict[str, Any]) -> T:
    """The options with these fields."""
    known = tuple(vars(options))
    wrong = [name for name in given if name not in known]
    if wrong:
        raise ValueError(f"must be of {known}, got {wrong}")
    return replace(options, **given)
