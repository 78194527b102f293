"""Options of the commands that work on a finished run; read before JAX is imported."""

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

if TYPE_CHECKING:
    from dst_jax import train

__all__ = ["FinishedRunOptions", "StageName"]

StageName = Annotated[
    str | None,
    tyro.conf.arg(help="Stage whose network is taken; the last stage's if not given."),
]
"""The option `--stage` of a command; `finished_run.stage_of` resolves it."""


@dataclass(frozen=True)
class FinishedRunOptions:
    """Which run, and where its data are; a command's options derive from it.

    The options of the data are keyword-only, so those of a command need no default.

    >>> FinishedRunOptions("runs/a", data_name="mnist").data_name
    'mnist'
    """

    run_dir: Annotated[str, tyro.conf.Positional]
    """A finished run."""
    _: KW_ONLY
    data_dir: str | None = None
    """Directory of prepared data sets, if not where the run had them."""
    data_name: str | None = None
    """Name of the data set, as --data.name of the experiments takes it, if it is not
    found by the name that the run has recorded."""

    def reopen(self) -> "train.Context":
        """Data, model and devices of the run.

        Raises:
          ValueError: as in `finished_run.reopen`.

        >>> FinishedRunOptions("runs/none").reopen()
        Traceback (most recent call last):
        ValueError: ...runs/none is not a run: it has no config.json
        """
        from experiments.running import finished_run

        return finished_run.reopen(
            self.run_dir, data_dir=self.data_dir, data_name=self.data_name
        )
