"""A penalty on gates that are neither on nor off."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dst_jax import checks
from dst_jax.typing import Params

__all__ = ["fence_sitters"]


def fence_sitters(gates: Params, *, sigma: ArrayLike = 1.0) -> Float[Array, ""]:
    """How undecided gates are: 1 if all are at `s = 0`, 0 if all are far from it.

        q = exp(-(s / (2 sigma^2))^2),    ||q||_2 / sqrt(n)  over all n gates

    A term of the loss that pushes gates to clearly on or clearly off. Its gradient is 0
    where every `q` underflows.

    Args:
      gates: `s` of every group, `trained["gates"]`, or any other tree of them.
      sigma: how far from 0 a gate is decided, > 0; may be traced.

    Returns:
      A float32 scalar in [0, 1].

    Raises:
      ValueError: there is no gate, or `sigma` is not above 0.

    Reference:
      Larson et al. 2023 (arXiv 2308.14605), from the authors' code.

    >>> fence_sitters({"conv1": jnp.zeros(3), "conv2": jnp.zeros(5)}).item()
    1.0
    """
    checks.positive("sigma", sigma)
    leaves = [jnp.ravel(s).astype(jnp.float32) for s in jax.tree.leaves(gates)]
    if not leaves:
        raise ValueError(f"gates must hold a gate of one group at least, got {gates}")
    s = jnp.concatenate(leaves)
    q = jnp.exp(-jnp.square(s / (2 * sigma**2)))
    return optax.safe_norm(q, 0.0) / np.sqrt(q.size)
