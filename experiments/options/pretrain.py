"""Options of stage one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from experiments.options.annotations import MOST_EPOCHS, NOT_NEGATIVE, POSITIVE
from experiments.options.stage_names import makes_stage

if TYPE_CHECKING:
    from dst_jax.train import Stage
    from experiments.options.config import Config

__all__ = ["PretrainOptions"]


@dataclass(frozen=True)
class PretrainOptions:
    """Stage one: dense training."""

    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 90
    """Length."""
    lr: Annotated[float, POSITIVE] = 0.1
    """Peak learning rate."""

    def stage(self, config: "Config") -> "Stage":
        """The dense baseline.

        >>> from experiments.options import Config
        >>> PretrainOptions(epochs=2).stage(Config()).epochs
        2
        """
        from dst_jax.train import stages

        optim = config.optim
        return stages.pretrain(
            epochs=self.epochs,
            optimizer=optim.optimizer(lr=self.lr, warmup_epochs=optim.warmup_epochs),
        )

    @makes_stage("pretrain")
    def stages(self, config: "Config", *, start: str | None) -> "list[Stage]":
        """The dense baseline alone.

        Args:
          config: all options.
          start: not used, as it begins with fresh weights.

        >>> from experiments.options import Config
        >>> [stage.name for stage in PretrainOptions().stages(Config(), start=None)]
        ['pretrain']
        """
        del start
        return [self.stage(config)]
