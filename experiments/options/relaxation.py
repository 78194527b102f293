"""Options of continuous relaxation: gates on channels, searches and collapses."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.options.annotations import (
    AT_LEAST_1,
    FINITE,
    MOST_EPOCHS,
    NOT_NEGATIVE,
    POSITIVE,
    Range,
    at_most,
)
from experiments.options.penalty import shape
from experiments.options.stage_names import makes_stage
from experiments.options.texts import about, rules

if TYPE_CHECKING:
    from dst_jax.train import Stage
    from dst_jax.train.stages import GateTraining
    from experiments.options.config import Config

__all__ = ["RelaxationOptions"]

_UNIT = Range("in [0, 1]", lambda x: 0 <= x <= 1)


@dataclass(frozen=True)
class RelaxationOptions:
    """Continuous relaxation: channels have gates that are trained, and go where these
    are low, in rounds; a branch whose inside is empty becomes its shortcut."""

    thresholds: Annotated[tuple[float, ...], _UNIT] = (0.02, 0.03, 0.05, 0.1, 0.2, 0.25)
    """Gates above these stay: one before every search but the first, and one before the
    fine-tuning. 0 removes nothing."""
    push: Literal["fence_sitters", "dais", "penalty", "hard_concrete"] = "fence_sitters"
    """What decides gates: a penalty on those near 0.5; a sigmoid that becomes stiff; a
    penalty of penalties.names() on gates; or random gates that are often exactly 0."""
    strength: Annotated[float, NOT_NEGATIVE] = 0.3
    """Strength of |A/A_0 - target|, k_struct in the paper: A is what gates leave of the
    cost of the whole network A_0."""
    target: Annotated[float, _UNIT] = 0.0
    """Share of the cost that is aimed at; 0 is as little as possible."""
    cost: Literal["multiplications", "parameters"] = "multiplications"
    """What is counted."""
    ejector: Annotated[float, NOT_NEGATIVE] = 1.0
    """Strength of the penalty on gates, k_pb in the paper."""
    sigma: Annotated[float, POSITIVE] = 1.0
    """How far from 0 the parameter of a gate is decided, for fence_sitters."""
    sharpness: Annotated[float, POSITIVE] = 5.0
    """Slope of the sigmoid."""
    stiffest: Annotated[float, POSITIVE] = 30.0
    """Slope that dais ends with."""
    ramp: Annotated[tuple[float, float], FINITE, at_most(1_000_000)] = (-1.0, 0.0)
    """Epochs of a search between which the penalty on gates rises, or the slope."""
    penalty: str | None = None
    """With push=penalty: a name of penalties.names(), or MODULE:ATTRIBUTE."""
    options: tuple[str, ...] = ()
    """Its shape parameters: NAME=NUMBER; its defaults if not given."""
    rules: tuple[str, ...] = ()
    """Which groups have gates: REGEX=true or REGEX=false, first match wins."""
    init_epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 0.0
    """Epochs with gates that nothing pushes, before the first search."""
    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 50
    """Length of each search."""
    finetune_epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 80
    """Length of the fine-tuning after the last collapse, without gates."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate of every phase."""
    finetune_lr: Annotated[float | None, POSITIVE] = None
    """Peak learning rate of the fine-tuning, if it is another one."""
    first: Annotated[int, AT_LEAST_1, at_most(1000)] = 1
    """Search to begin with: 2 takes up the network that search 1 left, given by
    --init.from, and collapses it first."""

    def check(self, config: "Config") -> None:
        """Refuses options that contradict each other.

        >>> from experiments.options import Config
        >>> RelaxationOptions(thresholds=()).check(Config())
        Traceback (most recent call last):
        ValueError: --relaxation.thresholds must have that of the last collapse, got ()
        """
        if not self.thresholds:
            raise ValueError(
                "--relaxation.thresholds must have that of the last collapse, got ()"
            )
        if self.first > len(self.thresholds):
            raise ValueError(
                "--relaxation.first must be one of the"
                f" {len(self.thresholds)} searches, got {self.first}"
            )
        if self.ramp[0] > self.ramp[1]:
            raise ValueError(
                f"--relaxation.ramp must be two epochs in order, got {self.ramp}"
            )
        if (self.penalty is None) == (self.push == "penalty"):
            raise ValueError(
                "--relaxation.penalty is for --relaxation.push penalty, and has to be"
                f" given for it, got {self.penalty} and push={self.push}"
            )
        changed = [n for n, x in vars(self).items() if x != getattr(type(self), n)]
        if changed and "relaxation" not in config.run.stages:
            raise ValueError(
                f"--relaxation.{changed[0]} is for the stage relaxation, got the stages"
                f" {config.run.stages}"
            )

    def gates(self) -> "GateTraining":
        """How gates are trained.

        Raises:
          ValueError: an unknown penalty, a parameter out of range, or a regex that is
            none.

        >>> RelaxationOptions(target=0.25).gates().target
        0.25
        """
        from dst_jax import penalties
        from dst_jax.train.stages import GateTraining

        with about("--relaxation.rules"):
            found = rules(self.rules)
        name = self.penalty or "l1"
        options = shape("relaxation", name, self.options, None)
        with about("--relaxation"):
            return GateTraining(
                push=self.push,
                strength=self.strength,
                target=self.target,
                cost=self.cost,
                ejector=self.ejector,
                sigma=self.sigma,
                sharpness=self.sharpness,
                stiffest=self.stiffest,
                ramp=self.ramp,
                penalty=penalties.get(name),
                options=options,
                rules=found,
            )

    @makes_stage("relaxation")
    def stages(self, config: "Config", *, start: str | None) -> "list[Stage]":
        """The phases: searches, and the fine-tuning.

        Args:
          config: all options.
          start: the name of the stage to start from.

        >>> from experiments.options import Config
        >>> options = RelaxationOptions(thresholds=(0.1, 0.2), init_epochs=3)
        >>> [stage.phase for stage in options.stages(Config(), start="pretrain")]
        ['init', 'search1', 'search2', 'finetune']
        """
        from dst_jax.train import stages

        return stages.relaxation(
            gates=self.gates(),
            thresholds=self.thresholds,
            init_epochs=self.init_epochs,
            epochs=self.epochs,
            finetune_epochs=self.finetune_epochs,
            optimizer=config.optim.optimizer(lr=self.lr),
            finetune_optimizer=config.optim.optimizer(lr=self.finetune_lr or self.lr),
            start=start,
            first=self.first,
        )
