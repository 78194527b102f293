"""Names of stages: a group of options says which stages its methods make.

A system of this package is one more field of `Config`; its group has such a method:

@makes_stage("anneal")
def stages(self, config: "Config", *, start: str | None) -> "list[Stage]": ...
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, get_type_hints

__all__ = ["Maker", "is_from_outside", "makers", "makes_stage"]

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "makes_stage"


class Maker(NamedTuple):
    """Which group of options makes a stage, and with which of its methods."""

    group: str
    method: str


def makes_stage(name: str) -> Callable[[F], F]:
    """A decorator of the method that makes the stages `name` of `--run.stages`.

    The method is given all options and, as `start`, the name of the stage to start
    from: None if it is the first. It returns a list: the stage, or its phases.

    Args:
      name: the name on the command line.

    >>> @makes_stage("anneal")
    ... def stages(self, config, *, start): ...
    >>> stages.makes_stage
    'anneal'
    """

    def mark(method: F) -> F:
        setattr(method, _MARK, name)
        return method

    return mark


def makers(config: type) -> dict[str, Maker]:
    """What makes each stage, by name, in the order of the groups.

    Args:
      config: dataclass of groups of options, such as `Config`.

    Raises:
      ValueError: two methods make stages of one name.

    >>> from experiments.options import Config
    >>> makers(Config)["pretrain"]
    Maker(group='pretrain', method='stages')
    """
    hints = get_type_hints(config)
    found: dict[str, Maker] = {}
    for field in dataclasses.fields(config):
        for method, value in vars(hints[field.name]).items():
            name = getattr(value, _MARK, None)
            if name in found:
                raise ValueError(f"stage {name!r} is made by two groups of options")
            if name is not None:
                found[name] = Maker(field.name, method)
    return found


def is_from_outside(stage: str) -> bool:
    """Whether a stage is named MODULE:ATTRIBUTE.

    >>> is_from_outside("my_package.stages:anneal"), is_from_outside("pretrain")
    (True, False)
    """
    return ":" in stage
