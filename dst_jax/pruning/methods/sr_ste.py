"""SR-STE: straight-through training in which pruned weights decay."""

from typing import Any

import jax
import jax.numpy as jnp

from dst_jax import checks
from dst_jax.pruning import scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution
from dst_jax.pruning.methods.ste import straight_through
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.structures import Structure
from dst_jax.typing import Params

__all__ = ["sr_ste"]


@method(texts={"structure": "2:4"})
def sr_ste(
    *,
    structure: Structure | None,
    sparsity: Any = None,
    refinement: Any = 2e-4,
    interval: Any = 1,
    distribution: str | Distribution = "uniform",
) -> Method:
    """SR-STE: straight-through training in which pruned weights decay, so masks settle.

        gradient of w = dL / d(mask * w) + refinement (1 - mask) w

    The parameters stay dense; take gradients at `sparse_params(params, opt_state)` and
    evaluate with it.

    Args:
      structure: units of weights, `structures.n_m(2, 4)` in the paper; None = single
        weights.
      sparsity: sparsity in [0, 1), or a schedule of it; None = that of `n_m`.
      refinement: strength of the decay, the paper's `lambda`, at least 0; 0 is plain
        straight-through training.
      interval: steps between new masks; the authors take one at every forward pass.
      distribution: distribution between layers, if `structure` does not fix the number.

    Raises:
      ValueError: an option is out of range, `sparsity` is missing, or it is not that of
        `n_m`; at `init`, a layer does not divide into groups.

    Reference:
      Zhou et al. 2021 (arXiv 2102.04010).

    >>> import optax
    >>> from dst_jax.pruning import structures
    >>> tx = sr_ste(optax.sgd(0.1, momentum=0.9), structure=structures.n_m(2, 4))
    """
    checks.at_least("refinement", refinement, 0)
    if sparsity is None:
        if structure is None or structure.density is None:
            raise ValueError(
                "sparsity must be a number in [0, 1) or a schedule unless structure is"
                " n_m, got None"
            )
        sparsity = 1 - structure.density

    def gradients(step: Step) -> Params:
        def refined(mask: jax.Array, weight: jax.Array, grad: jax.Array) -> jax.Array:
            pull = jnp.where(mask, 0, refinement * weight)
            return grad + pull.astype(grad.dtype)

        return jax.tree.map(refined, step.mask, step.params, step.grads)

    return straight_through(
        sparsity,
        interval,
        distribution,
        structure,
        lambda step: scores.magnitude(step.params),
        gradients,
    )
