"""Straight-through training: dense weights, of which the network uses the largest."""

from collections.abc import Callable
from typing import Any

import jax

from dst_jax import checks
from dst_jax.pruning import schedules, scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.structures import Structure
from dst_jax.pruning.updates import Importance, importance, keep
from dst_jax.typing import Mask, Params, concrete, is_traced

__all__ = ["dense_gradients", "ste", "straight_through"]


@method
def ste(
    *,
    sparsity: Any,
    interval: Any = 1,
    distribution: str | Distribution = "global",
    structure: Structure | None = None,
    score: str | Importance = "magnitude",
) -> Method:
    """Straight-through pruning: pruned weights go on learning and may come back.

        gradient of w = dL / d(mask * w),  of pruned weights too

    The parameters stay dense; take gradients at `sparse_params(params, opt_state)` and
    evaluate with it.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1), or a schedule of it, as
        `schedules.cubic(0.0, 0.9, end=10_000)`.
      interval: steps between new masks; 1 = after every step.
      distribution: distribution of the weights between layers.
      structure: units of weights that are pruned together; None = single weights.
      score: score by name, as `module:attribute`, or a function of `Step`; the first
        mask is by magnitude.

    Reference:
      Bengio et al. 2013 (arXiv 1308.3432), for the estimator.

    >>> import optax
    >>> tx = ste(optax.sgd(0.1, momentum=0.9), sparsity=0.9)
    """
    return straight_through(
        sparsity,
        interval,
        distribution,
        structure,
        importance("score", score),
        dense_gradients,
    )


def dense_gradients(step: Step) -> Params:
    """Gradients of all weights, kept or not.

    >>> dense_gradients(Step(None, {"w": 1.0}, None, None, None, None))
    {'w': 1.0}
    """
    return step.grads


def straight_through(
    sparsity: Any,
    interval: Any,
    distribution: str | Distribution,
    structure: Structure | None,
    score: Importance,
    gradients: Callable[[Step], Params],
) -> Method:
    """A method that trains dense weights under a mask of the best: STE and SR-STE.

    Args:
      sparsity, interval, distribution, structure: options of `ste`.
      score: score of the weights at a step.
      gradients: gradients that the optimizer sees.

    Raises:
      ValueError: an option is out of range, or `structure` has another sparsity.

    >>> score = importance("score", "magnitude")
    >>> straight_through(0.5, 1, "global", None, score, dense_gradients).holds
    False
    """
    target = sparsity if callable(sparsity) else lambda step: sparsity
    if not callable(sparsity):
        checks.fraction("sparsity", sparsity)
        _check_fits(sparsity, structure)
    share_out = by_name(distribution)

    def first(params: Params, key: jax.Array) -> Mask:
        del key
        return keep(scores.magnitude(params), target(0), share_out, structure)

    def refresh(step: Step) -> tuple[Mask, Any]:
        return keep(score(step), target(step.step), share_out, structure), step.memory

    return Method(
        first, refresh, schedules.every(interval), gradients=gradients, holds=False
    )


def _check_fits(sparsity: Any, structure: Structure | None) -> None:
    fixed = None if structure is None else structure.density
    if structure is None or fixed is None or is_traced(sparsity):
        return
    if abs(1 - fixed - concrete(sparsity)) > 1e-6:
        raise ValueError(
            f"sparsity must be {1 - fixed}, that of {structure.name}, got {sparsity}"
        )
