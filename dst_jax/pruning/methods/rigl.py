"""RigL and RigL-ITOP: drop by magnitude, grow by gradient."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax import checks
from dst_jax.pruning import flops, schedules, scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.structures import Structure
from dst_jax.pruning.updates import (
    Importance,
    LayerOrGlobal,
    drop_and_grow,
    importance,
    random_mask,
)
from dst_jax.typing import Mask, Params

__all__ = ["exploration", "rigl", "rigl_itop"]


@method(
    lengths={"end": 0.75, "interval": 0.02},
    ends=["start", "end"],
    structures="units",
    dense_gradients=flops.if_grown_by_gradient,
)
def rigl(
    *,
    sparsity: Any,
    end: Any,
    start: Any = 0,
    interval: Any = 100,
    drop_fraction: Any = 0.3,
    decay: str = "cosine",
    distribution: str | Distribution = "erk",
    structure: Structure | None = None,
    scope: LayerOrGlobal = "layer",
    drop: str | Importance = "magnitude",
    grow: str | Importance = "gradient",
    coverage: Any = 1e-3,
) -> Method:
    """RigL: drops the smallest weights and grows those with the largest gradients.

        dropped = floor(alpha / 2 (1 + cos(pi t / end)) * active),  as many grown

    The authors' code anneals only if told to, adds noise to break ties, skips the
    optimizer's step at an update, and updates for the first time before the first step.
    Here the cosine is the default, ties go to the first in path order, no step is
    skipped unless `skip_update` asks for it, and the first update comes after
    `interval` steps; with `skip_update=True, start=1` the steps of the updates are the
    authors'. In short trainings at high sparsity that early update counts:
    docs/pruning.md has numbers.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1); it never changes.
      end: first step without updates, about 3/4 of the training.
      start: step from which the interval counts: updates come at `start`, unless it is
        0, `start + interval`, ...
      interval: steps between mask updates.
      drop_fraction: `alpha`, a fraction of each layer's active weights, in [0, 1].
      decay: decay of the drop fraction, "cosine", "linear" or "constant".
      distribution: distribution of the first, random mask.
      structure: units of weights that are dropped and grown together, `block` or
        `channel`; None = single weights.
      scope: "layer" keeps each layer's number, "global" lets layers compete.
      drop, grow: scores by name, as `module:attribute`, or functions of `Step`;
        "dst_ee" grows what is steep or was seldom active, see `scores.dst_ee`.
      coverage: weight of the second of these, at least 0; for "dst_ee" only.

    Reference:
      Evci et al. 2020 (arXiv 1911.11134); "dst_ee": arXiv 2211.16667.

    >>> import optax
    >>> tx = rigl(optax.sgd(0.1, momentum=0.9), sparsity=0.9, end=75_000)
    """
    fraction = schedules.decay(decay, drop_fraction, end=end)
    due = schedules.every(interval, start=start, end=end)
    return exploration(
        sparsity, fraction, due, drop, grow, distribution, structure, scope,
        coverage=coverage,
    )  # fmt: skip


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
    scope: LayerOrGlobal = "layer",
    drop: str | Importance = "magnitude",
    grow: str | Importance = "gradient",
    coverage: Any = 1e-3,
) -> Method:
    """RigL-ITOP: updates rarely and in large steps, so that many weights are tried.

    `track=True` measures how many: the exploration rate of `statistics`. The number of
    dropped weights is rounded up, as in the authors' code.

    The defaults are those of the authors' command for RigL-ITOP; their SET-ITOP is
    `grow="random", interval=1500`. Without options their code grows at random every 100
    steps. Random growth has the right number only on average there, exactly here.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1); it never changes.
      end: steps of the whole training.
      interval: steps between mask updates.
      drop_fraction: fraction of each layer's active weights dropped at the start.
      final_fraction: fraction dropped at `end`.
      decay, distribution, structure, scope, drop, grow, coverage: options of `rigl`.

    Reference:
      Liu et al. 2021 (arXiv 2102.02887), and their code
      (Shiweiliuiiiiiii/In-Time-Over-Parameterization).

    >>> import optax
    >>> tx = rigl_itop(optax.sgd(0.1), sparsity=0.9, end=98_000, track=True)
    """
    fraction = schedules.decay(decay, drop_fraction, final_fraction, end=end)
    due = schedules.every(interval, end=end)
    return exploration(
        sparsity, fraction, due, drop, grow, distribution, structure, scope, True,
        coverage=coverage,
    )  # fmt: skip


def exploration(
    sparsity: Any,
    fraction: Callable[[Any], Any],
    due: schedules.Due,
    drop: str | Importance,
    grow: str | Importance,
    distribution: str | Distribution,
    structure: Structure | None,
    scope: LayerOrGlobal,
    rounded_up: bool = False,
    *,
    coverage: Any = 0.0,
) -> Method:
    """A method that drops and grows from a random mask: SET, RigL and RigL-ITOP.

    Args:
      sparsity, drop, grow, distribution, structure, scope: options of `rigl`.
      fraction: schedule of the fraction that is dropped.
      due: steps of the mask updates.
      rounded_up: whether the number of dropped weights is rounded up, not down.
      coverage: weight of what was seldom active, for growth by "dst_ee".

    Raises:
      ValueError: an option is out of range.

    >>> fraction, due = schedules.constant(0.3), schedules.every(10)
    >>> scores = ("magnitude", "random")
    >>> exploration(0.5, fraction, due, *scores, "er", None, "layer").holds
    True
    """
    checks.fraction("sparsity", sparsity)
    checks.one_of("scope", scope, ("layer", "global"))
    checks.at_least("coverage", coverage, 0)
    counts = grow == "dst_ee"
    lowest = importance("drop", drop)
    highest = partial(_dst_ee, coverage) if counts else importance("grow", grow)
    share_out = by_name(distribution)

    def first(params: Params, key: jax.Array) -> Mask:
        return random_mask(params, key, sparsity, share_out, structure)

    def refresh(step: Step) -> tuple[Mask, Any]:
        if counts:
            step = step._replace(memory=jax.tree.map(jnp.add, step.memory, step.mask))
        mask = drop_and_grow(
            lowest(step),
            highest(step),
            step.mask,
            fraction(step.step),
            scope=scope,
            structure=structure,
            rounded_up=rounded_up,
        )
        return mask, step.memory

    def never_active(params: Params, mask: Mask) -> Any:
        del mask
        return jax.tree.map(lambda w: jnp.zeros(w.shape, jnp.int32), params)

    if counts:
        return Method(first, refresh, due, memory=never_active)
    return Method(first, refresh, due)


def _dst_ee(coverage: Any, step: Step) -> Params:
    """DST-EE's score; the memory is how often each weight was active at an update."""
    return scores.dst_ee(
        step.params,
        grads=step.grads,
        times=step.memory,
        step=step.step,
        coverage=coverage,
    )
