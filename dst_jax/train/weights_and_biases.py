"""Scalars of a run for Weights & Biases."""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dst_jax.runs import naming, write_text

__all__ = ["WeightsAndBiases"]

_ID = "wandb/run_id"
"""Where the id is kept with which a run that goes on is the same one there."""


class WeightsAndBiases:
    """A log of Weights & Biases, which needs the extra `wandb`.

    Its files are in the run directory, under `wandb/`. Every stage and phase has steps
    of its own. Nothing is sent with WANDB_MODE=offline in the environment; `wandb sync`
    sends it later.

    Args:
      directory: run directory, after which the run is named.
      project: project of Weights & Biases.
      config: settings of the run, shown next to it.

    Raises:
      ValueError: the package is not installed.
    """

    def __init__(
        self, directory: str, *, project: str, config: Mapping[str, Any] | None = None
    ):
        wandb = self.package()
        path = Path(directory).absolute()
        file = path / _ID
        known = file.read_text("utf-8").strip() if file.exists() else None
        (path / "wandb").mkdir(parents=True, exist_ok=True)
        self._steps: set[str] = set()
        self._run: Any = wandb.init(
            project=project,
            name=path.name,
            dir=str(path),
            config=dict(config or {}),
            id=known,
            resume=None if known is None else "allow",
        )
        if known is None:
            with naming(file):
                write_text(file, f"{self._run.id}\n")

    @staticmethod
    def package() -> Any:
        """The package `wandb`, imported now.

        Raises:
          ValueError: it is not installed.
        """
        try:
            return importlib.import_module("wandb")
        except ImportError as error:
            raise ValueError(
                "Weights & Biases needs the package wandb, which cannot be imported"
                f" ({error}): pip install 'dst_jax[wandb]'"
            ) from None

    def scalars(self, prefix: str, values: Mapping[str, Any], step: int) -> None:
        """Sends every number of `values` as `prefix/name`, over `prefix/step`."""
        over = f"{prefix}/step"
        if prefix not in self._steps:
            self._run.define_metric(over, hidden=True)
            self._run.define_metric(f"{prefix}/*", step_metric=over)
            self._steps.add(prefix)
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
        self._run.log({f"{prefix}/{k}": v for k, v in numbers.items()} | {over: step})

    def close(self) -> None:
        """Ends the run there."""
        self._run.finish()
