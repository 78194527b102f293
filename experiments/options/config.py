"""All options of an experiment, and what they make together."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.options.activation import ActivationOptions
from experiments.options.annotations import FREE, check_ranges, groups
from experiments.options.channels import ChannelOptions
from experiments.options.data import DataOptions
from experiments.options.east import EastOptions
from experiments.options.init import InitOptions
from experiments.options.model import ModelOptions
from experiments.options.optim import OptimOptions
from experiments.options.pretrain import PretrainOptions
from experiments.options.prune import PruneOptions
from experiments.options.relaxation import RelaxationOptions
from experiments.options.run import RunOptions
from experiments.options.stage import StageOptions
from experiments.options.stage_names import makers
from experiments.options.task import TaskOptions
from experiments.options.texts import about

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dst_jax.data import Dataset
    from dst_jax.runs import Run
    from dst_jax.train import Console, Context, Stage

__all__ = ["Config"]

Preset = Literal["full", "full_9995", "full_9999", "small", "demo"]
"""Names of presets; an experiment has some of them."""


@dataclass(frozen=True)
class Config:
    """All options."""

    preset: Annotated[Preset, FREE] = "full"
    """Where the other options start from."""
    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    task: TaskOptions = field(default_factory=TaskOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    pretrain: PretrainOptions = field(default_factory=PretrainOptions)
    prune: PruneOptions = field(default_factory=PruneOptions)
    east: EastOptions = field(default_factory=EastOptions)
    channels: ChannelOptions = field(default_factory=ChannelOptions)
    relaxation: RelaxationOptions = field(default_factory=RelaxationOptions)
    activation: ActivationOptions = field(default_factory=ActivationOptions)
    stage: StageOptions = field(default_factory=StageOptions)
    init: InitOptions = field(default_factory=InitOptions)
    run: RunOptions = field(default_factory=RunOptions)

    def check(self) -> None:
        """Checks ranges and contradictions; needs neither JAX nor data.

        Raises:
          ValueError: an option is out of range, or two contradict each other.

        >>> Config(data=DataOptions(workers=-1)).check()
        Traceback (most recent call last):
        ValueError: --data.workers must be in [0, 1024], got -1
        """
        check_ranges(self)
        for group in groups(self):
            if hasattr(group, "check"):
                group.check(self)

    def stages(self) -> "list[Stage]":
        """The stages in the order of `run.stages`, the control after the baseline.

        Raises:
          ValueError: from the library, naming the value and what is allowed.

        >>> [stage.phase for stage in Config().stages()]
        ['pretrain', 'induce', 'finetune', 'sparsify_activations']
        """
        from dst_jax.train import stages
        from dst_jax.train.stage import check_order

        optimizer = self.optim.optimizer(lr=self.activation.lr)
        found = []
        if "pretrain" not in self.run.stages:
            found = [stages.initial(optimizer)]
        for name in self.run.stages:
            found += self._made(name, start=found[-1].name if found else None)
        if self.run.control:
            control = stages.control(
                epochs=sum(stage.epochs for stage in found[1:]),
                optimizer=optimizer,
                start=found[0].name,
            )
            found.insert(1, control)
        with about("--run.stages"):
            check_order(found)
        return found

    def _made(self, name: str, *, start: str | None) -> "list[Stage]":
        """A stage of `run.stages`, or its phases."""
        maker = makers(type(self)).get(name)
        if maker is None:
            return self.stage.stages(name, self, start=start)
        make = getattr(getattr(self, maker.group), maker.method)
        return make(self, start=start)

    def rehearse(self, stages: "Sequence[Stage]") -> None:
        """Builds what needs no data: a bad value is refused before data is read.

        Args:
          stages: the stages, whose optimizers are built too.

        Raises:
          ValueError: from the library, naming the value and what is allowed.

        >>> Config(model=ModelOptions(name="resnet19")).rehearse([])
        Traceback (most recent call last):
        ValueError: --model.name resnet19: model must be one of (...), got ...
        """
        for group in groups(self):
            if hasattr(group, "rehearse"):
                group.rehearse(self)
        for stage in stages:
            # So long that no number of steps is beyond its end.
            stage.optimizer(steps=10**9, steps_per_epoch=10**6, mask=None, seed=0)

    def context(
        self, run: "Run", console: "Console", *, data: "Dataset | None" = None
    ) -> "Context":
        """Data, model and devices; reads the data.

        A run that has begun goes on with the mean and deviation that it has recorded.

        Args:
          run: the run directory.
          console: where lines go.
          data: the data set, if it is open already.

        Raises:
          FileNotFoundError: the data set is not prepared.

        >>> from dst_jax import runs, train
        >>> config = Config(model=ModelOptions(name="mlp"))
        >>> context = config.context(runs.Run("a"), train.Console(quiet=True))
        >>> context.steps_per_epoch
        8
        """
        from dst_jax.train import Context

        if data is None:
            data = self.data.load(recorded=(run.read_config() or {}).get("data"))
        return Context(
            model=self.model.create(num_classes=data.num_classes),
            dataset=data,
            task=self.task.create(self),
            run=run,
            dtype=self.model.dtype,
            prunable=self.prune.prunable(),
            console=console,
            **self.data.feeding(),
            **self.run.cadence(),
        )
