"""What training with a method costs, next to dense training."""

import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from dst_jax import pruning
from dst_jax.parametrisations import block_rules
from dst_jax.report.training_ledger import training_costs
from experiments.options.methods import SparseMethod

__all__ = ["counted_share", "training_share"]


def counted_share(lines: Sequence[Mapping[str, Any]], cell: str) -> float | None:
    """Multiplications of a training without zeros over those of a dense one.

    Args:
      lines: lines of ledger.jsonl, see `dst_jax.runs`.
      cell: stage of the training.

    Returns:
      The share as the ledger has it; None if it has no lines of this training.

    >>> counted_share([], "rigl")
    """
    found = training_costs([line for line in lines if line["stage"] == cell])
    if cell not in found:
        return None
    whole = found[cell].total()
    return whole.effectual / whole.valid


def training_share(
    method: SparseMethod | None,
    lines: Sequence[Mapping[str, Any]],
    macs: Mapping[str, int],
    *,
    epochs: float,
    updates_per_epoch: float,
    owners: int | None = None,
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
      owners: blocks of each stage that own their weights; None if all do.

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
            _densities(line, macs, owners),
            dense_gradient_every=every(line["epoch"] * updates_per_epoch, **options),
        ).relative
        for line in lines
    )


def _densities(
    line: Mapping[str, Any], macs: Mapping[str, int], owners: int | None
) -> dict[str, float]:
    """By operation: a layer's kernel is named after it.

    An operation whose kernel another layer owns has that one's density.
    """
    found = {
        name.removeprefix("weights/").rpartition("/")[0]: layer["density"]
        for name, layer in line["layers"].items()
    }
    if owners is None:
        return found
    ((pattern, owner),) = block_rules(owners=owners)
    owned = {name: re.sub(pattern, owner, f"{name}/kernel") for name in macs}
    uses = {name: path.rpartition("/")[0] for name, path in owned.items()}
    return {name: found[path] for name, path in uses.items() if path in found}
