"""Options of stage one."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from experiments.options.annotations import NOT_NEGATIVE, POSITIVE
from experiments.options.stage_names import makes_stage

if TYPE_CHECKING:
    from dst_jax.train import Stage
    from experiments.options.config import Config

__all__ = ["PretrainOptions"]


@dataclass(frozen=True)
class PretrainOptions:
    """Stage one: dense training."""

    epochs: Annotated[float, NOT_NEGATIVE] = 90
    """Length."""
    lr: Annotated[float, POSITIVE] = 0.1
    """Peak learning rate."""

    @makes_stage("pretrain")
    def stages(self, config: "Config", *, start: str | None) -> "list[Stage]":
        """The dense baseline.

        Args:
          config: all options.
          start: None, as it is the first stage.

        >>> from experiments.options import Config
        >>> (stage,) = PretrainOptions(epochs=2).stages(Config(), start=None)
        >>> stage.epochs
        2
        """
        from dst_jax.train import stages

        del start
        optim = config.optim
        stage = stages.pretrain(
            epochs=self.epochs,
            optimizer=optim.optimizer(lr=self.lr, warmup_epochs=optim.warmup_epochs),
        )
        return [stage]
