"""GraNet: gradual pruning with regeneration."""

from typing import Any

import jax

from dst_jax import checks
from dst_jax.pruning import flops, schedules, scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.updates import (
    dense_mask,
    drop_and_grow,
    prune,
    random_mask,
)
from dst_jax.typing import Mask, Params

__all__ = ["granet"]


@method(
    lengths={"prune_end": 0.5, "end": 1.0, "interval": 0.02},
    ends=["start", "prune_end", "end"],
    dense_gradients=flops.at_updates,
)
def granet(
    *,
    sparsity: Any,
    prune_end: Any,
    end: Any,
    start: Any = 0,
    interval: Any = 1000,
    initial_sparsity: Any = 0.5,
    drop_fraction: Any = 0.5,
    final_fraction: Any = 0.005,
    first_distribution: str | Distribution = "erk",
    distribution: str | Distribution = "global",
) -> Method:
    """GraNet: prunes gradually, and regrows some weights at every update.

    Every update first prunes the smallest weights of all layers to a sparsity of
    `s_f + (s_i - s_f) (1 - p)^3`, then each layer drops a fraction `r` of its smallest
    weights and grows as many by gradient; `r` falls along a cosine until `end`, as in
    the authors' code also after `prune_end`.

    Their code for ImageNet prunes for the last time one interval before `prune_end` and
    so misses the target; here it is met at `prune_end` exactly. Their numbers of
    dropped weights are rounded up, ours down.

    Args:
      sparsity: target sparsity `s_f`, in [0, 1).
      prune_end: step from which the target is met; always an update.
      end: steps of the whole training, and first step without updates.
      start: step at which pruning starts.
      interval: steps between mask updates.
      initial_sparsity: sparsity `s_i` at first: 0.5 is sparse to sparse, 0 dense to
        sparse.
      drop_fraction: fraction `r` at the start, in [0, 1].
      final_fraction: fraction `r` at `end`.
      first_distribution: distribution of the first, random mask.
      distribution: distribution of the pruning.

    Reference:
      Liu et al. 2021 (GraNet, arXiv 2106.10404), and their code (VITA-Group/GraNet).

    >>> import optax
    >>> tx = granet(optax.sgd(0.1), sparsity=0.9, prune_end=31_000, end=62_500)
    """
    checks.fraction("sparsity", sparsity)
    checks.fraction("initial_sparsity", initial_sparsity)
    checks.at_least("sparsity", sparsity, initial_sparsity)
    checks.at_least("end", end, prune_end)
    target = schedules.cubic(initial_sparsity, sparsity, start=start, end=prune_end)
    fraction = schedules.decay("cosine", drop_fraction, final_fraction, end=end)
    regular = schedules.every(interval, start=start, end=end)
    share_out, share_out_first = by_name(distribution), by_name(first_distribution)

    def first(params: Params, key: jax.Array) -> Mask:
        if isinstance(initial_sparsity, int | float) and initial_sparsity == 0:
            return dense_mask(params)
        return random_mask(params, key, initial_sparsity, share_out_first)

    def refresh(step: Step) -> tuple[Mask, Any]:
        size = scores.magnitude(step.params)
        steep = scores.gradient(step.params, grads=step.grads)
        pruned = prune(size, step.mask, target(step.step), share_out)
        mask = drop_and_grow(size, steep, pruned, fraction(step.step))
        return mask, step.memory

    return Method(first, refresh, lambda step: regular(step) | (step == prune_end))
