"""The weights that stay: how many of each layer, or of several layers together."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from dst_jax import trees
from dst_jax.typing import Mask, Params

__all__ = ["JOINT", "AtLeast", "KeptCount", "KeptCounts", "ahead", "top_k"]

KeptCount = int | Int[Array, ""]
"""A number of weights to keep."""
JOINT = ""
"""The key of the number of weights that all other layers keep together."""


class AtLeast(NamedTuple):
    """The floor of a layer that competes with others: it keeps at least `number`."""

    number: KeptCount


KeptCounts = Mapping[str, KeptCount | AtLeast]
"""Numbers of weights to keep: of each layer, and in `JOINT` of all others together."""


def top_k(scores: Params, kept: KeptCounts, *, among: Mask = None) -> Mask:
    """The largest scores of every layer, or of several layers together.

    Ties go to the element that comes first in path order; NaN ranks lowest.

    Args:
      scores: pytree of float arrays; `None` leaves stay `None`.
      kept: number of weights to keep by path name, may be traced; a layer that it does
        not name, or names with `AtLeast`, competes for `kept[JOINT]` places.
      among: mask of the weights that may be kept, even if there are fewer than asked
        for; None = all.

    Returns:
      A bool tree shaped like `scores`.

    Raises:
      ValueError: a layer is not named and there is no `JOINT`, or more than 2^31 - 1
        weights compete with each other.

    >>> scores = {"a": jnp.array([3.0, 1.0]), "b": jnp.array([2.0, 4.0])}
    >>> top_k(scores, {"a": 1, "b": 2})["b"].tolist()
    [True, True]
    >>> top_k(scores, {JOINT: 1})["b"].tolist()
    [False, True]
    >>> top_k(scores, {JOINT: 2, "a": AtLeast(1)})["a"].tolist()
    [True, False]
    """
    names = list(trees.named_leaves(scores))
    floors = {k: n.number for k, n in kept.items() if isinstance(n, AtLeast)}
    if floors:
        first = top_k(scores, {k: floors.get(k, 0) for k in names}, among=among)
        scores = ahead(first, scores)
    exact = {k: n for k, n in kept.items() if not isinstance(n, AtLeast)}
    groups = [name if name in exact else JOINT for name in names]
    missing = [name for name in names if name not in exact]
    if missing and JOINT not in exact:
        raise ValueError(f"kept must name every layer or hold {JOINT!r}: {missing}")
    order = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    leaves, treedef = jax.tree.flatten(scores)
    chosen = trees.top_k_of_groups(
        leaves,
        [order[group] for group in groups],
        [exact[group] for group in order],
        among=None if among is None else jax.tree.leaves(among),
    )
    return jax.tree.unflatten(treedef, chosen)


def ahead(mask: Mask, scores: Params) -> Params:
    """Scores by which everything in the mask comes before everything outside.

    Args:
      mask: pytree of bool arrays.
      scores: pytree of float arrays, shaped like `mask`.

    >>> mask = {"w": jnp.array([True, False])}
    >>> ahead(mask, {"w": jnp.array([1.0, jnp.inf])})["w"].tolist()
    [inf, 3.4028234663852886e+38]
    """
    largest = jnp.finfo(jnp.float32).max
    return jax.tree.map(
        lambda m, s: jnp.where(m, jnp.inf, jnp.minimum(s, largest)), mask, scores
    )
