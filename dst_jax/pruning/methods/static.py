"""Masks that are chosen once, at `init`, and never change."""

from typing import Any

import jax

from dst_jax import checks
from dst_jax.pruning import scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method
from dst_jax.pruning.structures import Structure
from dst_jax.pruning.updates import keep, random_mask
from dst_jax.typing import Mask, Params

__all__ = ["random", "static"]


@method
def random(
    *,
    sparsity: Any,
    distribution: str | Distribution = "erk",
    structure: Structure | None = None,
) -> Method:
    """A random mask for the whole training: static sparse training.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1).
      distribution: distribution of the weights between layers.
      structure: units of weights that are pruned together; None = single weights.

    Reference:
      Liu et al. 2022 (random pruning at initialisation, arXiv 2202.02643).

    >>> import jax.numpy as jnp, optax
    >>> tx = random(optax.adam(1e-3), sparsity=0.9)
    >>> int(tx.init({"w": jnp.ones((10, 10))}).held.mask["w"].sum())
    10
    """
    checks.fraction("sparsity", sparsity)
    share_out = by_name(distribution)

    def first(params: Params, key: jax.Array) -> Mask:
        return random_mask(params, key, sparsity, share_out, structure)

    return Method(first)


@method
def static(
    *,
    sparsity: Any,
    distribution: str | Distribution = "global",
    structure: Structure | None = None,
) -> Method:
    """Keeps the largest weights at `init`, or those of the mask given by `mask=`.

    Args:
      sparsity: sparsity of the prunable weights, in [0, 1).
      distribution: distribution of the weights between layers.
      structure: units of weights that are pruned together; None = single weights.

    >>> import jax.numpy as jnp, optax
    >>> tx = static(optax.adam(1e-3), sparsity=0.5)
    >>> tx.init({"w": jnp.array([[1.0, -2.0]])}).held.mask["w"].tolist()
    [[False, True]]
    """
    checks.fraction("sparsity", sparsity)
    share_out = by_name(distribution)

    def first(params: Params, key: jax.Array) -> Mask:
        del key
        return keep(scores.magnitude(params), sparsity, share_out, structure)

    return Method(first)
