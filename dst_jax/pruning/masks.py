"""Masks: pytrees of bool arrays, `None` where a leaf is never pruned."""

import logging
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import checks, trees
from dst_jax.kernels import Kernel, of
from dst_jax.pruning import distributions, scores, selection
from dst_jax.pruning.layer_layout import LayerLayout, layout_of
from dst_jax.typing import Mask, Params, Rules, is_traced

__all__ = [
    "apply",
    "assemble",
    "emptied",
    "magnitude",
    "prunable",
    "prunable_layers",
    "sparsity",
    "threshold",
    "warn_of_emptied",
]

_log = logging.getLogger(__name__)

Scope = Literal["global", "layer", "erk"]
_SCOPES = {
    "global": distributions.joint,
    "layer": distributions.uniform,
    "erk": distributions.erk,
}


def prunable(
    params: Params, rules: Rules = (), *, kernels: Mapping[str, Kernel] | None = None
) -> Params:
    """`params` with `None` in place of the leaves that are never pruned.

    Kernels are pruned; biases, normalisation, embeddings, positions, tokens and leaves
    that are not float are not, stacked or not. A leaf without elements never is.

    Args:
      params: pytree of arrays or `jax.ShapeDtypeStruct`s.
      rules: `[(regex, bool), ...]` over path names, first match wins, in place of what
        `kernels` says of a leaf. A leaf that is no kernel, chosen by a rule, counts as
        one layer (*window, inputs, outputs).
      kernels: kernels of `params` from `kernels.by_use`; None = by name.

    Raises:
      ValueError: a regex matches nothing, a rule's value is not a bool, a leaf that is
        pruned is not real, or `kernels` are those of another tree.

    >>> layer = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}
    >>> prunable({"fc": layer})["fc"]["bias"] is None
    True
    """
    for pattern, keep in rules:
        if not isinstance(keep, bool):
            raise ValueError(f"rule {pattern!r} must be True or False, got {keep!r}")
    ruled = trees.named_leaves(trees.select(params, rules, default=None))

    # A complex leaf would be refused, even if a rule excludes it.
    real = trees.map_named(
        lambda name, w: None if ruled.get(name) is False and _is_complex(w) else w,
        params,
    )
    found = of(real, kernels)

    def pruned(name: str, w: Any) -> Any:
        if not ruled.get(name, name in found) or not np.size(w):
            return None
        if not jnp.issubdtype(jnp.result_type(w), jnp.floating):
            raise ValueError(
                f"{name} must be real to be pruned, got {jnp.result_type(w)}: exclude"
                " it by rules"
            )
        return w

    return trees.map_named(pruned, params)


def magnitude(
    params: Params,
    sparsity: float,
    *,
    scope: Scope = "global",
    rules: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
    layer_floor: float = 0.0,
) -> Mask:
    """A mask that keeps the weights of largest magnitude, to an exact number.

    Ties go to the weight that comes first, so the count is exact and the mask is the
    same on every host. Layers that are pruned whole are named in a warning of
    `logging`, unless JAX traces the call.

    Args:
      params: pytree of float arrays.
      sparsity: fraction of the prunable weights to remove, in [0, 1).
      scope: "global" compares all layers; "layer" removes the same fraction of each;
        "erk" removes by Erdos-Renyi-Kernel densities.
      rules: rules for the leaves that are prunable, as in `prunable`.
      kernels: kernels of `params`, as in `prunable`.
      layer_floor: smallest density of a layer, in [0, 1 - sparsity].

    Returns:
      A mask shaped like `params`.

    Raises:
      ValueError: a value is out of range, or nothing is prunable.

    >>> w = {"fc": {"kernel": jnp.array([[3.0, 1.0], [-2.0, 0.5]])}}
    >>> magnitude(w, 0.5)["fc"]["kernel"].tolist()
    [[True, False], [True, False]]
    """
    checks.fraction("sparsity", sparsity)
    checks.one_of("scope", scope, _SCOPES)
    weights, layout = prunable_layers(params, rules, kernels=kernels)
    importance = scores.magnitude(weights)
    shapes = {name: w.shape for name, w in trees.named_leaves(importance).items()}
    kept = _SCOPES[scope](shapes, sparsity, layer_floor=layer_floor)
    return assemble(selection.top_k(importance, kept), layout, params)


def threshold(
    params: Params,
    t: Any,
    *,
    rules: Rules = (),
    kernels: Mapping[str, Kernel] | None = None,
) -> Mask:
    """A mask that keeps `|w| >= t`: stage two of Yu & Tian 2024.

    Layers that are pruned whole are named in a warning of `logging`,
    unless JAX traces the call.

    Args:
      params: pytree of float arrays.
      t: threshold, a number >= 0; may be traced. 0 keeps everything.
      rules: rules for the leaves that are prunable, as in `prunable`.
      kernels: kernels of `params`, as in `prunable`.

    Returns:
      A mask shaped like `params`.

    Raises:
      ValueError: `t` is negative or not finite, or nothing is prunable.

    >>> threshold({"kernel": jnp.array([[0.1, -0.3]])}, 0.2)["kernel"].tolist()
    [[False, True]]
    """
    checks.at_least("t", t, 0)
    weights, layout = prunable_layers(params, rules, kernels=kernels)
    mask = jax.tree.map(lambda w: w >= t, scores.magnitude(weights))
    return assemble(mask, layout, params)


def prunable_layers(
    params: Params, rules: Rules = (), *, kernels: Mapping[str, Kernel] | None = None
) -> tuple[Params, LayerLayout]:
    """The prunable layers of a network, and the layout that puts them together again.

    Args:
      params: pytree of arrays.
      rules: rules for the leaves that are prunable, as in `prunable`.
      kernels: kernels of `params`, as in `prunable`.

    Raises:
      ValueError: as in `prunable`, or nothing is prunable.

    >>> layers, _ = prunable_layers({"weight": jnp.ones((3, 2)), "bias": jnp.ones(3)})
    >>> layers["weight"].shape, layers["bias"]
    ((2, 3), None)
    """
    weights = prunable(params, rules, kernels=kernels)
    if not jax.tree.leaves(weights):
        raise ValueError(
            "params has nothing to prune: no leaf is a kernel with weights"
        )
    layout = layout_of(params, weights, kernels)
    return layout.apart(weights), layout


def assemble(mask: Mask, layout: LayerLayout, params: Params) -> Mask:
    """A mask of layers as one of parameters.

    Layers that it prunes whole are named in a warning of `logging`.

    Args:
      mask: mask of the layers.
      layout: layout of the layers in `params`.
      params: pytree of arrays.

    >>> params = {"weight": jnp.ones((3, 2))}  # outputs first
    >>> layers, layout = prunable_layers(params)
    >>> mask = jax.tree.map(lambda w: w > 0, layers)
    >>> mask["weight"].shape, assemble(mask, layout, params)["weight"].shape
    ((2, 3), (3, 2))
    """
    warn_of_emptied(mask)
    return layout.together(mask, params)


def warn_of_emptied(mask: Mask) -> None:
    """Names the layers that a mask prunes whole in a warning of `logging`.

    Args:
      mask: mask of the layers.

    >>> warn_of_emptied({"a": jnp.array([True])})
    """
    gone = emptied(mask)
    if gone:
        _log.warning(
            "pruned whole: %s; layer_floor keeps a share of every layer",
            ", ".join(gone),
        )


def emptied(mask: Mask) -> tuple[str, ...]:
    """The layers that a mask prunes whole; none while JAX traces, where it is unknown.

    Args:
      mask: pytree of bool arrays, `None` where nothing is pruned.

    >>> emptied({"a": jnp.array([False, False]), "b": jnp.array([True, False])})
    ('a',)
    """
    named = {k: m for k, m in trees.named_leaves(mask).items() if m.size}
    if not named or any(map(is_traced, named.values())):
        return ()
    alive = jax.device_get(jnp.stack([jnp.any(m) for m in named.values()]))
    return tuple(k for k, any_left in zip(named, alive, strict=True) if not any_left)


def apply(mask: Mask, params: Params) -> Params:
    """`params` with exact zeros where the mask is false.

    Args:
      mask: pytree of bool arrays with the path names of `params`, `None` = as it is.
      params: pytree of arrays.

    Raises:
      ValueError: the path names differ.

    >>> apply({"w": jnp.array([True, False])}, {"w": jnp.ones(2)})["w"].tolist()
    [1.0, 0.0]
    """
    return jax.tree.map(
        lambda m, w: w if m is None else jnp.where(m, w, jnp.zeros_like(w)),
        trees.like(mask, params, names=("mask", "the parameters")),
        params,
        is_leaf=trees.is_none,
    )


def sparsity(tree: Params) -> float:
    """The exact fraction of zeros (of False in a mask) in all leaves that are not None.

    Args:
      tree: pytree of arrays, weights or a mask.

    Raises:
      ValueError: there are no leaves, or none with elements.

    >>> sparsity({"kernel": jnp.array([True, False, False, False]), "bias": None})
    0.75
    """
    leaves, total = jax.tree.leaves(tree), trees.count(tree)
    if not total:
        raise ValueError("tree has no leaves with elements: nothing in it is prunable")
    zeros = sum(leaf.size - int(jnp.count_nonzero(leaf)) for leaf in leaves)
    return zeros / total


def _is_complex(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating)
