"""Masks: pytrees of bool arrays, `None` where a leaf is never pruned."""

from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp

from dst_jax import trees
from dst_jax.pruning import distributions, scores, selection
from dst_jax.typing import Mask, Params, Rules, is_traced

__all__ = ["apply", "magnitude", "prunable", "sparsity", "threshold"]

Scope = Literal["global", "layer", "erk"]


def prunable(params: Params, rules: Rules = ()) -> Params:
    """`params` with `None` in place of the leaves that are never pruned.

    Args:
      params: pytree of arrays.
      rules: `[(regex, bool), ...]` over path names, first match wins. A leaf that no
        rule matches is prunable if it has at least two axes: kernels are, biases and
        normalisation are not.

    Raises:
      ValueError: a regex matches nothing, or a rule's value is not a bool.

    >>> layer = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    >>> prunable({"fc": layer})["fc"]["bias"] is None
    True
    """
    for pattern, keep in rules:
        if not isinstance(keep, bool):
            raise ValueError(f"rule {pattern!r} must be True or False, got {keep!r}")
    chosen = trees.select(params, rules, default=lambda _, w: jnp.ndim(w) >= 2)
    return jax.tree.map(
        lambda w, prune: w if prune else None, params, chosen, is_leaf=trees.is_none
    )


def magnitude(
    params: Params,
    sparsity: float,
    *,
    scope: Scope = "global",
    rules: Rules = (),
) -> Mask:
    """A mask that keeps the weights of largest magnitude, exactly so many.

    Ties go to the weight that comes first, so the count is exact and the mask is the
    same on every host.

    Args:
      params: pytree of float arrays.
      sparsity: the fraction of prunable weights to remove, in [0, 1).
      scope: "global" compares all layers; "layer" removes the same fraction of each;
        "erk" removes by Erdos-Renyi-Kernel densities.
      rules: which leaves are prunable, as in `prunable`.

    Returns:
      A mask shaped like `params`.

    Raises:
      ValueError: a value is out of range, or nothing is prunable.

    >>> w = {"fc": {"kernel": jnp.array([[3.0, 1.0], [-2.0, 0.5]])}}
    >>> magnitude(w, 0.5)["fc"]["kernel"].tolist()
    [[True, False], [True, False]]
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be in [0, 1), got {sparsity}")
    if scope not in get_args(Scope):
        raise ValueError(f"scope must be one of {get_args(Scope)}, got {scope!r}")
    importance = scores.magnitude(_checked(prunable(params, rules)))
    shapes = {name: w.shape for name, w in trees.named_leaves(importance).items()}
    share_out = distributions.by_name("uniform" if scope == "layer" else scope)
    return selection.top_k(importance, share_out(shapes, sparsity))


def threshold(params: Params, t: Any, *, rules: Rules = ()) -> Mask:
    """A mask that keeps `|w| >= t`: stage two of Yu & Tian 2024.

    Args:
      params: pytree of float arrays.
      t: the threshold, a number >= 0; may be traced. 0 keeps everything.
      rules: which leaves are prunable, as in `prunable`.

    Returns:
      A mask shaped like `params`.

    Raises:
      ValueError: `t` is negative or not finite, or nothing is prunable.

    >>> threshold({"kernel": jnp.array([[0.1, -0.3]])}, 0.2)["kernel"].tolist()
    [[False, True]]
    """
    if not is_traced(t) and not 0 <= t < float("inf"):
        raise ValueError(f"t must be a finite number >= 0, got {t}")
    importance = scores.magnitude(_checked(prunable(params, rules)))
    return jax.tree.map(lambda w: w >= t, importance)


def apply(mask: Mask, params: Params) -> Params:
    """`params` with exact zeros where the mask is false.

    >>> apply({"w": jnp.array([True, False])}, {"w": jnp.ones(2)})["w"].tolist()
    [1.0, 0.0]
    """
    return jax.tree.map(
        lambda m, w: w if m is None else jnp.where(m, w, jnp.zeros_like(w)),
        mask,
        params,
        is_leaf=trees.is_none,
    )


def sparsity(tree: Params) -> float:
    """The exact fraction of zeros (of False in a mask) in all leaves that are not None.

    >>> sparsity({"kernel": jnp.array([True, False, False, False]), "bias": None})
    0.75
    """
    leaves = jax.tree.leaves(tree)
    if not leaves:
        raise ValueError("tree has no leaves: nothing in it is prunable")
    zeros = sum(leaf.size - int(jnp.count_nonzero(leaf)) for leaf in leaves)
    return zeros / trees.count(tree)


def _checked(prunable_params: Params) -> Params:
    if not jax.tree.leaves(prunable_params):
        raise ValueError("params has nothing to prune: no leaf of two or more axes")
    return prunable_params
