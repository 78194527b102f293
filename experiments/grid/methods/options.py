"""Options of a comparison of methods."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from experiments.grid.options import GridOptions
from experiments.options import Config, PretrainOptions, PruneOptions, RunOptions
from experiments.options.annotations import (
    AT_LEAST_1,
    FREE,
    NOT_NEGATIVE,
    at_most,
)

if TYPE_CHECKING:
    from experiments.grid.engine import Comparison

__all__ = ["MethodGrid"]


@dataclass(frozen=True)
class MethodGrid(GridOptions):
    """All options. Ranges are those of the options that `base` makes of them."""

    methods: Annotated[tuple[str, ...], FREE] = ()
    """METHOD [NAME=VALUE ...], one text for each; `dense` comes by itself, METHOD may
    be MODULE:ATTRIBUTE. What counts optimizer steps is a number of them, a share
    (end=75%) or epochs (interval=2ep). Any method takes the options --east.*, such as
    dyrelu=true owners=2, and saved_sparsity=0.8, which makes SWAT of ste
    distribution=uniform."""
    sparsity: float = 0.9
    """Target of all methods that take one; N:M has its own."""
    rules: tuple[str, ...] = ()
    """Which leaves are prunable: REGEX=true or REGEX=false, first match wins."""
    epochs: float = 100
    """Length of every training."""
    lr: float = 0.1
    """Peak learning rate."""
    log_every: int = 100
    """Steps between lines of metrics and of masks."""
    ledger_every: Annotated[int, NOT_NEGATIVE, FREE] = 0
    """Steps between those whose multiplications are counted, forward and backward;
    0 counts none."""
    timing_runs: Annotated[int, NOT_NEGATIVE, at_most(10_000), FREE] = 11
    """Alternating runs whose median is the forward time of a network that is smaller
    than the dense one; 0 measures none."""
    timing_batch: Annotated[int, AT_LEAST_1, at_most(2**20), FREE] = 16
    """Images of such a run."""

    def base(self) -> Config:
        """The options as every experiment has them.

        >>> MethodGrid(sparsity=0.5).base().prune.sparsity
        0.5
        """
        run = RunOptions(
            stages=("pretrain",),
            eval_every=self.eval_every,
            log_every=self.log_every,
            ledger_every=self.ledger_every,
        )
        return Config(
            data=self.data,
            model=self.model,
            task=self.task,
            optim=self.optim,
            init=self.init,
            pretrain=PretrainOptions(epochs=self.epochs, lr=self.lr),
            prune=PruneOptions(sparsity=self.sparsity, rules=self.rules),
            run=run,
        )

    def comparison(self) -> "Comparison":
        """Dense training and training with each method.

        Raises:
          ValueError: an unknown method or option, or a value out of range.

        >>> [c.name for c in MethodGrid(methods=("set interval=5",)).comparison().cells]
        ['dense', 'set_interval=5']
        """
        from experiments.grid.methods.comparison import MethodComparison

        return MethodComparison(self)
