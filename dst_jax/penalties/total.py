"""One penalty over all layers of a network."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from dst_jax import trees
from dst_jax.typing import Penalty, Rules

__all__ = ["total"]


def total(
    tree: PyTree,
    penalty: Penalty,
    *,
    weights: jax.typing.ArrayLike | Rules | None = None,
    batched: bool = True,
) -> Float[Array, ""]:
    """A penalty summed over layers, and for activations averaged over the batch.

        batched:  1/m sum_i sum_l w_l R(x_l,i)      not batched:  sum_l w_l R(w_l)

    Args:
      tree: pytree of arrays by layer; `None` leaves are left out. Activation maps have
        shape (m, ...) with the batch first; under a global-view sharding `m` is the
        global batch.
      penalty: function `(x, *, axis) -> Array`; bind options with `functools.partial`.
      weights: weights `w_l` of the layers: None for 1, a number for all, or
        `[(regex, value), ...]` over path names, where the first match wins and a layer
        that nothing matches has weight 1. Values may be traced. An array of the shape
        of one example's map (of the leaf, if not batched) weighs each element; the
        penalty must then be a sum over elements, whose terms `axis=()` returns.
      batched: Whether the leading axis of every leaf is the batch.

    Returns:
      A scalar, float32 or wider.

    Raises:
      ValueError: the tree has no arrays, a regex matches no layer, a batched leaf is
        empty or has no batch axis, or an array of weights has another shape than its
        map. Without the batch, a leaf that is empty adds 0.

    Reference:
      Yu & Tian 2024 (arXiv 2405.19652), equations 2 and 3. The paper does not
      say sum or mean; assumed here: sum over elements and layers, mean over the
      batch, as in Georgiadis 2019.

    >>> from dst_jax.penalties.l1 import l1
    >>> maps = {"relu1": jnp.ones((2, 3)), "relu2": jnp.ones((2, 4))}
    >>> float(total(maps, l1)), float(total(maps, l1, weights=[("relu1", 0.0)]))
    (7.0, 4.0)
    """
    rules = [] if weights is None else weights
    if not isinstance(rules, list | tuple):
        rules = [("", rules)]
    names = trees.named_leaves(tree)
    if not names:
        raise ValueError(
            "tree has no arrays to penalise: no tap was collected, or no leaf selected"
        )
    by_layer = trees.named_leaves(trees.select(tree, rules, default=1.0))
    values = [
        _weighted(name, leaf, by_layer[name], penalty, batched=batched)
        for name, leaf in names.items()
    ]
    return jnp.asarray(sum(values), jnp.result_type(float, *values))


def _weighted(
    name: str, x: Array, weight: Any, penalty: Penalty, *, batched: bool
) -> Float[Array, ""]:
    if batched and x.ndim == 0:
        raise ValueError(f"{name} is a scalar; batched=True needs shape (batch, ...)")
    if batched and not x.size:
        raise ValueError(f"{name} is empty: its shape is {x.shape}")
    if not x.size:
        return jnp.zeros(())
    if jnp.ndim(weight) == 0:
        axis = tuple(range(1, x.ndim)) if batched else None
        return weight * penalty(x, axis=axis).mean()
    expected = x.shape[1:] if batched else x.shape
    if jnp.shape(weight) != expected:
        raise ValueError(
            f"weights of {name} must be a number or have shape {expected}, got shape "
            f"{jnp.shape(weight)}"
        )
    return (penalty(x, axis=()) * jnp.broadcast_to(weight, x.shape)).sum() / (
        x.shape[0] if batched else 1
    )
