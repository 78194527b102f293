"""Options of stages from outside the package."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any

from experiments.options.annotations import MOST_EPOCHS, NOT_NEGATIVE, POSITIVE
from experiments.options.stage_names import is_from_outside
from experiments.options.texts import about, pairs, value

if TYPE_CHECKING:
    from dst_jax.train import Stage
    from experiments.options.config import Config

__all__ = ["StageOptions"]


@dataclass(frozen=True)
class StageOptions:
    """Stages from outside the package: factories that --run.stages names
    MODULE:ATTRIBUTE. A factory is given what it has a parameter for of `epochs`,
    `optimizer`, `start`, `prunable` and the options."""

    options: tuple[str, ...] = ()
    """Options of the factories: NAME=VALUE. With several factories, each is given the
    options that it has a parameter for."""
    epochs: Annotated[float, NOT_NEGATIVE, MOST_EPOCHS] = 20
    """Length."""
    lr: Annotated[float, POSITIVE] = 0.01
    """Peak learning rate."""

    def check(self, config: "Config") -> None:
        """Refuses options of stages that there are not.

        >>> from experiments.options import Config
        >>> StageOptions(options=("cycles=3",)).check(Config())
        Traceback (most recent call last):
        ValueError: --stage.options is for stages named MODULE:ATTRIBUTE, got ...
        """
        if self.options and not any(map(is_from_outside, config.run.stages)):
            raise ValueError(
                "--stage.options is for stages named MODULE:ATTRIBUTE, got"
                f" {self.options} and the stages {config.run.stages}"
            )

    def stages(
        self, name: str, config: "Config", *, start: str | None
    ) -> "list[Stage]":
        """The stage, or its phases, that a factory makes.

        Args:
          name: MODULE:ATTRIBUTE.
          config: all options.
          start: the name of the stage to start from.

        Raises:
          ValueError: there is no such factory; an option is unknown or out of range; or
            what it returns is no stage.

        >>> from experiments.options import Config
        >>> (stage,) = StageOptions(epochs=3).stages(
        ...     "dst_jax.train.stages:control", Config(), start="pretrain"
        ... )
        >>> stage.name, stage.epochs, stage.start
        ('control', 3, 'pretrain')
        """
        from dst_jax.train import Stage

        with about(f"--run.stages {name}"):
            factory = _factory(name)
            arguments = self._arguments(factory, config, start)
            _refuse_missing(factory, arguments)
            made = factory(**arguments)
        found = [made] if isinstance(made, Stage) else made
        listed = list(found) if isinstance(found, list) else []
        if not listed or not all(isinstance(x, Stage) for x in listed):
            raise ValueError(
                f"--run.stages {name} must return a train.Stage or a list of them, got"
                f" {made!r}"
            )
        if listed[0].start is None:  # the control may be before it in the list
            listed[0] = replace(listed[0], start=start)
        return listed

    def _arguments(
        self, factory: Callable[..., Any], config: "Config", start: str | None
    ) -> dict[str, Any]:
        """What a factory has a parameter for; the options win."""
        from dst_jax.train.stage import accepted

        with about("--stage.options"):
            given = {name: value(text) for name, text in pairs(self.options)}
            outside = filter(is_from_outside, config.run.stages)
            known = [_factory(stage) for stage in outside]
            for name in given:
                if not any(accepted(other, **{name: None}) for other in known):
                    raise ValueError(f"no stage of {config.run.stages} takes {name!r}")
        offered = {
            "epochs": self.epochs,
            "optimizer": config.optim.optimizer(lr=self.lr),
            "start": start,
            "prunable": config.prune.prunable(),
        }
        return accepted(factory, **(offered | given))


def _factory(name: str) -> Callable[..., Any]:
    from dst_jax import checks

    found = checks.resolve(name, argument="stage")
    if not callable(found):
        raise ValueError(f"stage {name!r} must be a function, got {found!r}")
    return found


def _refuse_missing(factory: Callable[..., Any], arguments: dict[str, Any]) -> None:
    try:
        signature(factory).bind(**arguments)
    except TypeError as error:
        raise ValueError(f"{error}; see --stage.options") from None
