"""Multiply-adds of a sparse training step.

A forward pass costs F multiply-adds; the backward pass two more of its kind, one for
the gradients of the inputs and one for those of the weights. With `f_S` of the sparse
network and `f_D` of the dense one:

    static, SET        3 f_S                         gradients of kept weights only
    dense gradients    2 f_S + f_D                   of all weights, at every step
    RigL               (3 f_S dT + 2 f_S + f_D) / (dT + 1)   at every dT-th step

As in the papers, the optimizer, normalisation and the mask update itself are left out,
and the first layer's input gradient is counted although it is not needed.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from dst_jax import checks

__all__ = [
    "DenseGradients",
    "TrainingFlops",
    "at_updates",
    "if_grown_by_gradient",
    "never",
    "training_flops",
]

DenseGradients = Callable[..., int | None]
"""`(step, **options) -> dense_gradient_every` of a method with these options."""


class TrainingFlops(NamedTuple):
    """Multiply-adds of one example in all layers, averaged over steps.

    Attributes:
      forward: forward pass.
      input_gradients: gradients of the inputs.
      weight_gradients: gradients of the weights.
      dense: dense training step, `3 f_D`.
    """

    forward: Any
    input_gradients: Any
    weight_gradients: Any
    dense: Any

    @property
    def total(self) -> Any:
        """Multiply-adds of a training step."""
        return self.forward + self.input_gradients + self.weight_gradients

    @property
    def relative(self) -> Any:
        """`total` over a dense training step."""
        return self.total / self.dense


def training_flops(
    dense_macs: Mapping[str, jax.typing.ArrayLike],
    densities: Mapping[str, jax.typing.ArrayLike],
    *,
    dense_gradient_every: int | None = None,
) -> TrainingFlops:
    """Multiply-adds of one training step, averaged over steps.

    Args:
      dense_macs: multiply-adds of a dense forward pass by layer, for one example.
      densities: densities of the layers, kept weights over all, in [0, 1]; numbers or
        arrays, for instance from `statistics`. Layers not named are dense.
      dense_gradient_every: steps between gradients of all weights: None = never
        (static, SET), 1 = at every step, or RigL's interval dT between updates, which
        gives the average over dT + 1 steps of the paper.

    Raises:
      ValueError: a density of a layer that is not in `dense_macs`, or out of range.

    Reference:
      Evci et al. 2020 (RigL, arXiv 1911.11134), appendix on FLOPs.

    >>> cost = training_flops({"conv": 100, "fc": 10}, {"conv": 0.1})
    >>> cost.forward, cost.total, cost.dense
    (20.0, 60.0, 330)
    >>> training_flops({"conv": 100}, {"conv": 0.1}, dense_gradient_every=9).total
    39.0
    """
    unknown = sorted(densities.keys() - dense_macs.keys())
    if unknown:
        raise ValueError(f"densities names {unknown}, not in {list(dense_macs)}")
    for name, density in densities.items():
        checks.share(f"density of {name}", density)
    if dense_gradient_every is not None:
        checks.at_least("dense_gradient_every", dense_gradient_every, 1)
    sparse: Any = sum(macs * densities.get(k, 1) for k, macs in dense_macs.items())
    dense: Any = sum(dense_macs.values())
    if dense_gradient_every is None:
        weight_gradients = sparse
    elif dense_gradient_every == 1:
        weight_gradients = dense
    else:
        steps = dense_gradient_every
        weight_gradients = (sparse * steps + dense) / (steps + 1)
    return TrainingFlops(sparse, sparse, weight_gradients, 3 * dense)


def never(step: float, **options: Any) -> None:
    """None: for methods that use gradients of kept weights only.

    Args:
      step: number of the optimizer step.
      **options: options that do not matter here.

    >>> never(10, sparsity=0.9)
    """
    del step, options


def at_updates(
    step: float, *, interval: int, end: float | None = None, **others: Any
) -> int | None:
    """The interval: for methods that use gradients of all weights at mask updates.

    Args:
      step: number of the optimizer step.
      interval: steps between updates.
      end: last step with updates; None = updates never stop.
      **others: options that do not matter here.

    >>> at_updates(10, interval=5, end=20), at_updates(30, interval=5, end=20)
    (5, None)
    """
    del others
    return interval if end is None or step <= end else None


def if_grown_by_gradient(step: float, *, grow: Any, **options: Any) -> int | None:
    """The interval if weights are grown by gradient, and None otherwise.

    Args:
      step: number of the optimizer step.
      grow: score by name, or a function, which may use gradients.
      **options: other options, as for `at_updates`.

    >>> if_grown_by_gradient(10, grow="gradient", interval=5)
    5
    >>> if_grown_by_gradient(10, grow="random", interval=5)
    """
    if grow in ("random", "magnitude"):
        return never(step)
    return at_updates(step, **options)
