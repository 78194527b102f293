"""Options of the task."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.options.texts import about, pairs, value

if TYPE_CHECKING:
    from dst_jax.train.tasks import Task
    from experiments.options.config import Config

__all__ = ["TaskOptions"]


@dataclass(frozen=True)
class TaskOptions:
    """What the network is trained for."""

    name: str = "classification"
    """One of train.tasks.names(), or MODULE:ATTRIBUTE."""
    options: tuple[str, ...] = ()
    """Its options: NAME=VALUE."""

    def create(self, config: "Config") -> "Task":
        """The task.

        A task that takes `num_classes` or `ignore` has those of the data, unless others
        are given.

        Args:
          config: all options; `optim.label_smoothing` is the task's.

        Raises:
          ValueError: an unknown name or option, or a value out of range.

        >>> from experiments.options import Config, OptimOptions
        >>> config = Config(optim=OptimOptions(label_smoothing=0.1))
        >>> TaskOptions().create(config).label_smoothing
        0.1
        """
        from dst_jax.train import tasks

        with about("--task.options"):
            options = {name: value(text) for name, text in pairs(self.options)}
        if config.optim.label_smoothing > 0:
            options.setdefault("label_smoothing", config.optim.label_smoothing)
        with about("--task.name"):
            wanted = {"num_classes", "ignore"} & set(tasks.options(self.name))
            if wanted - options.keys():
                found = config.data.summary()
                options = {name: found[name] for name in wanted} | options
            return tasks.get(self.name, **options)

    def rehearse(self, config: "Config") -> None:
        """Creates the task, to check its name and options.

        >>> from experiments.options import Config
        >>> TaskOptions(name="classify").rehearse(Config())
        Traceback (most recent call last):
        ValueError: --task.name: task must be one of ('classification', ...), got ...
        """
        self.create(config)
