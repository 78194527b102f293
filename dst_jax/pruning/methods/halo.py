"""HALO: hierarchical adaptive lasso, a learned penalty for every weight."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from dst_jax import checks
from dst_jax.pruning import schedules, scores
from dst_jax.pruning.auxiliary_params import Learned, descend, learned
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step, masked_gradients
from dst_jax.pruning.updates import dense_mask, prune
from dst_jax.typing import Mask, Params

__all__ = ["halo"]

_SGD = optax.sgd(0.1)
_SMALLEST = 1e-4


@method(lengths={"at": 0.5}, ends=["at"])
def halo(
    *,
    sparsity: Any,
    at: Any,
    xi: Any = 1e-8,
    psi: Any = 1e-8,
    budget: Any = 0.0,
    coefficients: optax.GradientTransformation = _SGD,
    distribution: str | Distribution = "global",
) -> Method:
    """HALO: learns the weights together with the coefficients of their penalty.

        loss + xi sum_j |w_j| / lambda_j^2 + psi | sum_j |lambda_j| - budget |

    with one `lambda` per weight, 1 at first. After step `at` the smallest weights are
    pruned at once and the mask is held; the authors stop there. Choose the convolutions
    with `rules`, as they do.

    `lambda` may change its sign, as in the authors' code, which has no safeguards. Here
    `|lambda|` counts as at least 1e-4, so that gradients stay finite. Their code can
    also add a coefficient for every layer, an option that it calls defunct; there is
    none here.

    Args:
      sparsity: sparsity after step `at`, in [0, 1).
      at: step after which the mask is chosen, at least 1.
      xi: strength of the weighted l1 norm, at least 0.
      psi: strength of the penalty on the coefficients' sum, at least 0.
      budget: sum of `|lambda|` that is not penalised, at least 0, the paper's `p`.
      coefficients: optimizer of `lambda`; the authors use the hyper-parameters of the
        weights, SGD of 0.1 with weight decay 1e-4.
      distribution: distribution of what is kept between layers.

    Reference:
      HALO (arXiv 2008.10183), and its code (skyler120/sparsity-halo).

    >>> tx = halo(optax.sgd(0.1), sparsity=0.95, at=60_000)
    """
    checks.fraction("sparsity", sparsity)
    checks.at_least("at", at, 1)
    checks.at_least("xi", xi, 0)
    checks.at_least("psi", psi, 0)
    checks.at_least("budget", budget, 0)
    share_out = by_name(distribution)

    def gradients(step: Step) -> Params:
        strength = jnp.where(step.step <= at, xi, 0)

        def pull(g: Array, w: Array, lam: Array) -> Array:
            return g + (strength * jnp.sign(w) / _bounded(lam) ** 2).astype(g.dtype)

        kept = masked_gradients(step)
        return jax.tree.map(pull, kept, step.params, step.memory.value)

    def observe(step: Step) -> Learned:
        lams = step.memory.value
        total = sum(jnp.sum(jnp.abs(lam)) for lam in jax.tree.leaves(lams))
        outer = psi * jnp.sign(total - budget)

        def slope(w: Array, lam: Array) -> Array:
            size = jnp.abs(w).astype(jnp.float32)
            return outer * jnp.sign(lam) - 2.0 * xi * size / _bounded(lam) ** 3

        after = descend(
            coefficients, step.memory, jax.tree.map(slope, step.params, lams)
        )
        done = step.step > at
        return jax.tree.map(
            lambda old, new: jnp.where(done, old, new), step.memory, after
        )

    def refresh(step: Step) -> tuple[Mask, Any]:
        size = scores.magnitude(step.params)
        return prune(size, step.mask, sparsity, share_out), step.memory

    def ones(params: Params, mask: Mask) -> Learned:
        del mask
        value = jax.tree.map(lambda w: jnp.ones(w.shape, jnp.float32), params)
        return learned(coefficients, value)

    return Method(
        first=lambda params, key: dense_mask(params),
        refresh=refresh,
        due=schedules.every(1, start=at, end=at, at_end=True),
        memory=ones,
        observe=observe,
        gradients=gradients,
    )


def _bounded(lam: Array) -> Array:
    sign = jnp.where(lam < 0, -1.0, 1.0)
    return sign * jnp.maximum(jnp.abs(lam), _SMALLEST)
