"""RigL and its in-time over-parametrised variant: drop by weight, grow by gradient."""

from collections.abc import Callable
from typing import Any

import jax

from dst_jax import checks
from dst_jax.pruning import flops, schedules
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.structures import Structure
from dst_jax.pruning.updates import (
    Importance,
    Scope,
    drop_and_grow,
    importance,
    random_mask,
)
from dst_jax.typing import Mask, Params

__all__ = ["exploration", "rigl", "rigl_itop"]


@method(
    lengths={"end": 0.75, "interval": 0.02},
    ends=["end"],
    structures="units",
    dense_gradients=flops.if_grown_by_gradient,
)
def rigl(
    *,
    sparsity: Any,
    end: Any,
    interval: Any = 100,
    drop_fraction: Any = 0.3,
    decay: str = "cosine",
    distribution: str | Distribution = "erk",
    structure: Structure | None = None,
    scope: Scope = "layer",
    drop: str | Importance = "magnitude",
    grow: str | Importance = "gradient",
) -> Method:
    """RigL: every so many steps the smallest weights go and steep ones come.

        dropped = floor(alpha / 2 (1 + cos(pi t / end)) * active),  as many grown

    The authors' code anneals only if told to, adds noise to break ties, and loses the
    optimizer's step at an update; here the cosine is the default, ties go by path
    order, and no step is lost unless `skip_update` asks for it.

    Args:
      sparsity: of the prunable weights, in [0, 1); the number never changes.
      end: the first step without updates, about 3/4 of the training.
      interval: steps between updates.
      drop_fraction: `alpha`, of each layer's active weights, in [0, 1].
      decay: of the drop fraction, "cosine", "linear" or "constant".
      distribution: of the first, random mask.
      structure: what is dropped and grown together: None = single weights, `block`,
        `channel`.
      scope: "layer" keeps each layer's number, "global" lets layers compete.
      drop, grow: the scores, by name or as a function of `Step`.

    Reference:
      Evci et al. 2020 (arXiv 1911.11134).

    >>> import optax
    >>> tx = rigl(optax.sgd(0.1, momentum=0.9), sparsity=0.9, end=75_000)
    """
    fraction = schedules.decay(decay, drop_fraction, end=end)
    due = schedules.every(interval, end=end)
    return exploration(
        sparsity, fraction, due, drop, grow, distribution, structure, scope
    )


@method(
    lengths={"end": 1.0, "interval": 0.04},
    ends=["end"],
    structures="units",
    dense_gradients=flops.if_grown_by_gradient,
)
def rigl_itop(
    *,
    sparsity: Any,
    end: Any,
    interval: Any = 4000,
    drop_fraction: Any = 0.5,
    final_fraction: Any = 0.005,
    decay: str = "cosine",
    distribution: str | Distribution = "erk",
    structure: Structure | None = None,
    scope: Scope = "layer",
    drop: str | Importance = "magnitude",
    grow: str | Importance = "gradient",
) -> Method:
    """RigL-ITOP: rarer, larger updates until the end, so that many weights get a turn.

    `track=True` measures how many: the exploration rate of `statistics`.

    Args:
      sparsity: of the prunable weights, in [0, 1); the number never changes.
      end: the steps of the whole training.
      interval: steps between updates, the authors' 4000 for growth by gradient and 1500
        for random growth.
      drop_fraction: of each layer's active weights at the start.
      final_fraction: at the end.
      decay, distribution, structure, scope, drop, grow: as in `rigl`.

    Reference:
      Liu et al. 2021 (arXiv 2102.02887).

    >>> import optax
    >>> tx = rigl_itop(optax.sgd(0.1), sparsity=0.9, end=98_000, track=True)
    """
    fraction = schedules.decay(decay, drop_fraction, final_fraction, end=end)
    due = schedules.every(interval, end=end)
    return exploration(
        sparsity, fraction, due, drop, grow, distribution, structure, scope
    )


def exploration(
    sparsity: Any,
    fraction: Callable[[Any], Any],
    due: schedules.Due,
    drop: str | Importance,
    grow: str | Importance,
    distribution: str | Distribution,
    structure: Structure | None,
    scope: Scope,
) -> Method:
    """Drop and grow from a random mask: what SET, RigL and RigL-ITOP have in common."""
    checks.fraction("sparsity", sparsity)
    checks.one_of("scope", scope, ("layer", "global"))
    lowest, highest = importance("drop", drop), importance("grow", grow)
    share_out = by_name(distribution)

    def first(params: Params, key: jax.Array) -> Mask:
        return random_mask(params, key, sparsity, share_out, structure)

    def refresh(step: Step) -> tuple[Mask, Any]:
        mask = drop_and_grow(
            lowest(step),
            highest(step),
            step.mask,
            fraction(step.step),
            scope=scope,
            structure=structure,
        )
        return mask, step.memory

    return Method(first, refresh, due)
