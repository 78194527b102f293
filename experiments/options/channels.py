"""Options of the stage that removes channels."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments.options.annotations import (
    AT_LEAST_1,
    FREE,
    MOST_EPOCHS,
    NOT_NEGATIVE,
    POSITIVE,
    SHARE,
    Range,
    at_most,
)
from experiments.options.stage_names import makes_stage
from experiments.options.texts import about, regex, rules

if TYPE_CHECKING:
    from dst_jax.train import Stage
    from dst_jax.train.stages import Distillation, UnitChoice
    from experiments.options.config import Config

__all__ = ["ChannelOptions"]

_FINITE = Range("finite", math.isfinite)
_LEFT = Range("in (0, 1]", lambda x: 0 < x <= 1)


@dataclass(frozen=True)
class ChannelOptions:
    """Removal of channels: units of groups that go together, from all arrays. All
    numbers are those of the whole network."""

    budget: Annotated[float | None, _LEFT] = 0.5
    """Share of the cost that is left, in (0, 1]; or give a ratio, or a threshold."""
    cost: Literal["multiplications", "parameters"] = "multiplications"
    """What the budget is of."""
    ratio: Annotated[float | None, SHARE] = None
    """Share of the units to remove, in [0, 1)."""
    threshold: Annotated[float | None, _FINITE] = None
    """Remove units with a score below this."""
    score: str = "l2"
    """What keeps units: a name of channels.scores, or MODULE:ATTRIBUTE. taylor takes
    gradients over the training set, apoz and wanda activation maps."""
    solver: str = "greedy"
    """With scope global, what shares a budget out: greedy, exact, MODULE:ATTRIBUTE."""
    scope: Literal["group", "global"] = "group"
    """group: every group loses the same share. global: a ratio is of all units
    together, and a budget is shared out by the solver; meant for scores that add up
    (taylor), as norms of weights empty the groups whose units cost most."""
    floor: Annotated[float, NOT_NEGATIVE] = 1
    """Units that every group keeps at least; below 1 a share of them."""
    multiple_of: Annotated[int, AT_LEAST_1, at_most(2**20)] = 1
    """Number that divides how many units a group keeps, or it stays whole."""
    rules: tuple[str, ...] = ()
    """Which groups may lose units: REGEX=true or REGEX=false, first match wins."""
    split: Literal["outer", "inner"] = "outer"
    """Of an axis split into several: whole heads and groups go, or the same positions
    inside each."""
    steps: Annotated[int, AT_LEAST_1, at_most(1000)] = 1
    """Steps of the removal, each with its part of the epochs after it."""
    batches: Annotated[int | None, AT_LEAST_1] = None
    """Batches for scores that need data; an epoch if not given."""
    distillation: Annotated[float, NOT_NEGATIVE] = 0.0
    """Strength gamma of the inner distillation from the network before (20 in the
    paper); 0 is none."""
    features: Literal["linear", "kept"] = "linear"
    """With distillation, where widths differ: compare through a trained matrix, or the
    channels that are kept."""
    maps: tuple[str, ...] = ()
    """With distillation: regexes of the maps that are compared; all if not given."""
    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 20
    """Length of the training after the removal, of all steps together."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate."""
    timing_runs: Annotated[int, NOT_NEGATIVE, at_most(10_000), FREE] = 11
    """Alternating runs whose median is the forward time of the whole and the smaller
    network, measured at the end; 0 measures none."""
    timing_batch: Annotated[int, AT_LEAST_1, at_most(2**20), FREE] = 16
    """Images of such a run."""

    def check(self, config: "Config") -> None:
        """Refuses options that contradict each other.

        >>> from experiments.options import Config
        >>> ChannelOptions(ratio=0.5).check(Config())
        Traceback (most recent call last):
        ValueError: --channels.budget, --channels.ratio, --channels.threshold: give ...
        """
        given = {name: getattr(self, name) for name in ("budget", "ratio", "threshold")}
        if sum(value is not None for value in given.values()) != 1:
            raise ValueError(
                "--channels.budget, --channels.ratio, --channels.threshold: give one"
                " and set the others to None, got"
                f" {', '.join(map(str, given.values()))}"
            )
        if self.floor >= 1 and self.floor != int(self.floor):
            raise ValueError(
                "--channels.floor must be a share below 1 or a whole number, got"
                f" {self.floor}"
            )
        if self.maps and not self.distillation:
            raise ValueError(
                f"--channels.maps is for --channels.distillation, got {self.maps}"
            )
        changed = [n for n, x in vars(self).items() if x != getattr(type(self), n)]
        if changed and "remove_channels" not in config.run.stages:
            raise ValueError(
                f"--channels.{changed[0]} is for the stage remove_channels, got the"
                f" stages {config.run.stages}"
            )

    def choice(self) -> "UnitChoice":
        """Which units go.

        Raises:
          ValueError: an unknown name, or a regex that is none.

        >>> ChannelOptions(budget=0.25).choice().budget
        0.25
        """
        from dst_jax.train.stages import UnitChoice

        with about("--channels.rules"):
            found = rules(self.rules)
        same = ("budget", "cost", "ratio", "threshold", "score", "solver", "scope")
        options: dict[str, Any] = {name: getattr(self, name) for name in same}
        floor = int(self.floor) if self.floor >= 1 or not self.floor else self.floor
        with about("--channels"):
            return UnitChoice(
                **options,
                floor=floor,
                multiple_of=self.multiple_of,
                rules=found,
                split=self.split,
            )

    def teacher(self) -> "Distillation | None":
        """The inner distillation, if there is one.

        >>> ChannelOptions(distillation=20.0).teacher().features
        'linear'
        """
        from dst_jax.train.stages import Distillation

        if not self.distillation:
            return None
        with about("--channels.maps"):
            maps = tuple(map(regex, self.maps))
        return Distillation(
            strength=self.distillation, features=self.features, maps=maps
        )

    @makes_stage("remove_channels")
    def stages(self, config: "Config", *, start: str | None) -> "list[Stage]":
        """The stage, or a phase for each step.

        Args:
          config: all options.
          start: the name of the stage to start from.

        >>> from experiments.options import Config
        >>> found = ChannelOptions(steps=3).stages(Config(), start="pretrain")
        >>> [stage.phase for stage in found]
        ['step1', 'step2', 'step3']
        """
        from dst_jax.train import stages

        return stages.remove_channels(
            choice=self.choice(),
            epochs=self.epochs,
            optimizer=config.optim.optimizer(lr=self.lr),
            start=start,
            steps=self.steps,
            batches=self.batches,
            distillation=self.teacher(),
        )
