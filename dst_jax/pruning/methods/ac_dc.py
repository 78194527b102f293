"""AC/DC: alternates compressed and decompressed training."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from dst_jax import checks
from dst_jax.pruning import schedules, scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.structures import Structure
from dst_jax.pruning.updates import dense_mask, prune
from dst_jax.typing import Mask

__all__ = ["ac_dc"]


@method(
    lengths={"warmup": 0.05, "interval": 0.1, "end": 0.85},
    ends=["warmup", "release", "end"],
)
def ac_dc(
    *,
    sparsity: Any,
    warmup: Any,
    interval: Any,
    end: Any,
    release: Any = None,
    distribution: str | Distribution = "global",
    structure: Structure | None = None,
) -> Method:
    """AC/DC: alternates phases of compressed (sparse) and decompressed training.

    Trains densely for `warmup` steps, then in phases of `interval` steps, of which the
    first is compressed. At the start of a compressed phase the weights of largest
    magnitude are kept and the others held at 0; at its end the others come back, from 0
    and with fresh statistics of the optimizer (an option of the authors' code resets
    the momentum of all weights then). From `end` on the network stays compressed, for
    fine-tuning.

    In epochs, the authors' settings are: ImageNet in 100, `warmup=10, interval=5,
    release=75, end=85`; CIFAR-100 in 200, `warmup=10, interval=20, end=170`.

    Args:
      sparsity: sparsity of compressed phases, in [0, 1).
      warmup: dense steps at first, at least 1.
      interval: steps of a phase.
      end: first step of the last compressed phase, at least `warmup`.
      release: first step of a decompressed phase that lasts until `end`; None = phases
        alternate up to `end`.
      distribution: distribution of the weights between layers.
      structure: units of weights that are pruned together; None = single weights.

    Reference:
      Peste et al. 2021 (AC/DC, arXiv 2106.12379); schedules from its configurations
      (IST-DASLab/ACDC).

    >>> import optax
    >>> tx = ac_dc(optax.sgd(0.1), sparsity=0.9, warmup=100, interval=50, end=850)
    """
    checks.fraction("sparsity", sparsity)
    checks.at_least("warmup", warmup, 1)
    checks.at_least("end", end, warmup)
    last = end if release is None else release
    checks.at_least("release", last, warmup)
    checks.at_least("end", end, last)
    share_out = by_name(distribution)
    regular = schedules.every(interval, start=warmup, end=end, at_end=True)

    def due(step: Any) -> Bool[Array, ""]:
        return regular(step) | (jnp.asarray(step) == last)

    def refresh(step: Step) -> tuple[Mask, Any]:
        turn = (step.step - warmup) // interval % 2 == 1
        decompressed = (turn | (step.step >= last)) & (step.step < end)
        size = scores.magnitude(step.params)
        kept = prune(size, step.mask, sparsity, share_out, structure)
        return jax.tree.map(lambda m: m | decompressed, kept), step.memory

    return Method(lambda params, key: dense_mask(params), refresh, due)
