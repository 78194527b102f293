"""Trees with `None` where nothing is ever pruned, beside whole ones."""

from typing import Any

import jax
import jax.numpy as jnp

from dst_jax import trees
from dst_jax.typing import Mask

__all__ = ["counts", "merge", "only", "zeros"]


def only(mask: Mask, tree: Any) -> Any:
    """The leaves of `tree` that are prunable; `None` for the others."""
    return jax.tree.map(
        lambda m, x: None if m is None else x, mask, tree, is_leaf=trees.is_none
    )


def merge(part: Any, whole: Any) -> Any:
    """`whole` with the leaves of `part` that are not None; None in `whole` stays."""

    def choose(new: Any, old: Any) -> Any:
        return old if new is None or old is None else new

    return jax.tree.map(choose, part, whole, is_leaf=trees.is_none)


def zeros(mask: Mask) -> Any:
    """An int32 scalar 0 for every leaf."""
    return jax.tree.map(lambda _: jnp.zeros((), jnp.int32), mask)


def counts(mask: Mask) -> Any:
    """How many elements of every leaf are true, int32."""
    return jax.tree.map(lambda m: m.sum(dtype=jnp.int32), mask)
