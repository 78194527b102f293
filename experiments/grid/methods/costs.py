"""What training with a method costs, next to dense training."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from dst_jax import pruning
from experiments.options.methods import SparseMethod

__all__ = ["training_share"]


def training_share(
    method: SparseMethod | None,
    lines: Sequence[Mapping[str, Any]],
    macs: Mapping[str, int],
    *,
    epochs: float,
    updates_per_epoch: float,
) -> float:
    """Multiply-adds of a training over those of the same training when dense.

    The mean over the lines that the stage has logged of its masks; each counts
    gradients of all weights as often as the method declares that it needs them.

    Args:
      method: the method; None is dense.
      lines: lines of masks.jsonl, see `dst_jax.runs`.
      macs: multiply-adds of a dense forward pass by operation.
      epochs: length of the training.
      updates_per_epoch: optimizer steps of an epoch.

    Raises:
      ValueError: there are no lines.

    >>> from experiments.options.methods import parse
    >>> lines = [{"epoch": 1.0, "layers": {"fc/kernel": {"density": 0.25}}}]
    >>> lengths = {"epochs": 1, "updates_per_epoch": 10}
    >>> training_share(parse("random", target=0.75), lines, {"fc": 100}, **lengths)
    0.25
    """
    if method is None:
        return 1.0
    if not lines:
        raise ValueError("lines is empty: the training logged no masks")
    options = method.resolved(
        updates=round(epochs * updates_per_epoch), per_epoch=updates_per_epoch
    )
    if "prox" in options:
        options["step_size"] = 0  # known to the stage alone, and no matter here
    every = method.description.dense_gradient_every
    return fmean(
        pruning.training_flops(
            macs,
            _densities(line),
            dense_gradient_every=every(line["epoch"] * updates_per_epoch, **options),
        ).relative
        for line in lines
    )


def _densities(line: Mapping[str, Any]) -> dict[str, float]:
    """By operation: a layer's kernel is named after it."""
    return {
        name.rpartition("/")[0]: layer["density"]
        for name, layer in line["layers"].items()
    }
