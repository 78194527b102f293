"""What training with a method costs, next to dense training."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from dst_jax import pruning
from experiments.methods import SparseMethod

__all__ = ["training_share"]

_GROWS_BY_GRADIENT = ("granet", "srigl")
"""Methods without an option `grow`."""


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
    gradients of all weights where the method needs them: at every step if it trains
    dense weights, at every mask update if it grows by gradient.

    Args:
      method: None is dense.
      lines: of masks.jsonl, see `dst_jax.runs`.
      macs: of a dense forward pass by operation.
      epochs: of the training.
      updates_per_epoch: optimizer steps of an epoch.

    Raises:
      ValueError: there are no lines.
    """
    if method is None:
        return 1.0
    if not lines:
        raise ValueError("lines is empty: the training logged no masks")
    return fmean(
        pruning.training_flops(
            macs,
            _densities(line),
            dense_gradient_every=_dense_gradient_every(
                method, line["epoch"], epochs, updates_per_epoch
            ),
        ).relative
        for line in lines
    )


def _densities(line: Mapping[str, Any]) -> dict[str, float]:
    """By operation: a layer's kernel is named after it."""
    return {
        name.rpartition("/")[0]: layer["density"]
        for name, layer in line["layers"].items()
    }


def _dense_gradient_every(
    method: SparseMethod, epoch: float, epochs: float, per_epoch: float
) -> int | None:
    if method.dense_weights:
        return 1
    lengths = {"updates": round(epochs * per_epoch), "per_epoch": per_epoch}
    by_gradient = method.option("grow", **lengths) == "gradient"
    if not by_gradient and method.name not in _GROWS_BY_GRADIENT:
        return None
    end = method.option("end", **lengths)
    if end is not None and epoch * per_epoch > end:
        return None
    return method.option("interval", **lengths)
