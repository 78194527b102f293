"""Options that every comparison has."""

import abc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

from experiments.options import (
    Config,
    DataOptions,
    InitOptions,
    ModelOptions,
    OptimOptions,
    TaskOptions,
)
from experiments.options.annotations import (
    AT_LEAST_1,
    FREE,
    NOT_NEGATIVE,
    SEED,
    check_ranges,
)

if TYPE_CHECKING:
    from experiments.grid.engine import Comparison

__all__ = ["GridOptions", "refuse_repeated"]


def refuse_repeated(option: str, values: tuple[float, ...]) -> None:
    """Refuses a value that is given twice.

    >>> refuse_repeated("seeds", (1, 1))
    Traceback (most recent call last):
    ValueError: --seeds must be distinct, got (1, 1)
    """
    if len(set(values)) != len(values):
        raise ValueError(f"--{option} must be distinct, got {values}")


@dataclass(frozen=True)
class GridOptions(abc.ABC):
    """Options that every comparison has."""

    preset: Annotated[Literal["full", "cifar100", "chase", "east", "demo"], FREE] = (
        "full"
    )
    """Where the other options start from."""
    seeds: Annotated[tuple[int, ...], NOT_NEGATIVE, SEED, FREE] = (0, 1, 2)
    """Seeds of initialisation, data order, augmentation and random masks."""
    dir: Annotated[str | None, FREE] = None
    """Directory that everything is written to. Default: runs/NAME-PRESET."""
    eval_every: Annotated[int, AT_LEAST_1] = 1
    """Epochs between evaluations on the hold-out."""
    data: DataOptions = field(default_factory=DataOptions)
    model: ModelOptions = field(default_factory=ModelOptions)
    task: TaskOptions = field(default_factory=TaskOptions)
    optim: OptimOptions = field(default_factory=OptimOptions)
    init: InitOptions = field(default_factory=InitOptions)

    def check(self) -> None:
        """Checks ranges and contradictions; needs neither JAX nor data.

        Raises:
          ValueError: an option is out of range, or two contradict each other.

        >>> from experiments.grid.methods.options import MethodGrid
        >>> MethodGrid(seeds=()).check()
        Traceback (most recent call last):
        ValueError: --seeds must be distinct, at least one, got ()
        """
        check_ranges(self)
        if not self.seeds:
            raise ValueError("--seeds must be distinct, at least one, got ()")
        refuse_repeated("seeds", self.seeds)
        self.base().check()

    @abc.abstractmethod
    def base(self) -> Config:
        """The options as every experiment has them."""

    @abc.abstractmethod
    def comparison(self) -> "Comparison":
        """What is compared; names are checked here.

        Raises:
          ValueError: an unknown name or option, or a value out of range.
        """
