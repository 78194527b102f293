"""Scores: how important every weight is. The lowest are pruned first."""

import jax
import jax.numpy as jnp

from dst_jax.typing import Params

__all__ = ["magnitude"]


def magnitude(params: Params) -> Params:
    """`|w|` of every leaf, in float32.

    >>> magnitude({"kernel": jnp.array([-2.0, 1.0])})["kernel"].tolist()
    [2.0, 1.0]
    """
    return jax.tree.map(lambda w: jnp.abs(w.astype(jnp.float32)), params)
