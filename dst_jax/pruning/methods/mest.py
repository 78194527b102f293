"""MEST: memory-economic sparse training, with or without a soft memory bound."""

from typing import Any

import jax
import jax.numpy as jnp

from dst_jax import checks, trees
from dst_jax.pruning import flops, schedules, scores, updates
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.typing import Mask, Params, concrete, is_traced

__all__ = ["mest"]


@method(
    lengths={"end": 0.75, "interval": 0.02},
    ends=["end"],
    dense_gradients=flops.if_grown_by_gradient,
)
def mest(
    *,
    sparsity: Any,
    end: Any,
    interval: Any = 1000,
    bound: Any = 0.05,
    soft: bool = True,
    decay: str = "cosine",
    gradient_weight: Any = 0.0,
    distribution: str | Distribution = "erk",
    grow: str | updates.Importance = "random",
) -> Method:
    """MEST: prunes to one density and grows to a higher one, equal from `end` on.

        delta(t) = bound (1 + cos(pi t / end)) / 2
        soft:      prune to d,             grow to d + delta(t)      (EM&S)
        otherwise: prune to d - delta(t),  grow to d                 (EM)

    with `d = 1 - sparsity`. Under the soft bound the weights grown in excess are
    trained until the next update decides which of them stay; the density is exactly `d`
    from `end` on. The score is `|w| + gradient_weight |g|`.

    The authors' released runs leave the weight of `|g|` in the score at 0 and grow at
    random; Chase, which takes its soft bound from here, grows by "gradient". The
    authors' bounds fall in steps, by epochs; a cosine is Chase's.

    Args:
      sparsity: target sparsity, in [0, 1).
      end: step of the last update.
      interval: steps between mask updates.
      bound: largest excess (or lack) of density, in [0, 1]; `d + bound <= 1`, and
        `d - bound >= 0` if not soft.
      soft: whether memory may exceed the budget for a while.
      decay: decay of the bound, "cosine", "linear" or "constant".
      gradient_weight: weight of `|g|` in the score, at least 0, the paper's lambda.
      distribution: distribution of the budget between layers, at every density.
      grow: score of what grows, by name or as a function of `Step`.

    Reference:
      Yuan et al. 2021 (arXiv 2110.14032), and their code (boone891214/MEST).

    >>> import optax
    >>> tx = mest(optax.sgd(0.1), sparsity=0.9, end=60_000)
    """
    checks.fraction("sparsity", sparsity)
    checks.share("bound", bound)
    checks.at_least("gradient_weight", gradient_weight, 0)
    checks.share("sparsity - bound" if soft else "sparsity + bound",
                  sparsity - bound if soft else sparsity + bound)  # fmt: skip
    delta = schedules.decay(decay, bound, end=end)
    due = schedules.every(interval, end=end, at_end=True)
    share_out, highest = by_name(distribution), updates.importance("grow", grow)

    def first(params: Params, key: jax.Array) -> Mask:
        return updates.random_mask(params, key, sparsity, share_out)

    def refresh(step: Step) -> tuple[Mask, Any]:
        slack = jnp.where(step.step >= end, 0, delta(step.step))
        target = jnp.asarray(sparsity, jnp.float32)
        lower, upper = (target, target - slack) if soft else (target + slack, target)
        kept = updates.prune(
            _importance(step, gradient_weight), step.mask, lower, share_out
        )
        shapes = {k: w.shape for k, w in trees.named_leaves(step.params).items()}
        return updates.grow(highest(step), kept, share_out(shapes, upper)), step.memory

    return Method(first, refresh, due)


def _importance(step: Step, gradient_weight: Any) -> Params:
    """`|w| + gradient_weight |g|`; `|w|` alone whatever the gradient if that is 0."""
    size = scores.magnitude(step.params)
    if not is_traced(gradient_weight) and concrete(gradient_weight) == 0:
        return size
    steep = scores.gradient(step.params, grads=step.grads)
    return jax.tree.map(lambda w, g: w + gradient_weight * g, size, steep)
