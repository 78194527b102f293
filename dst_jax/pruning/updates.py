"""Mask updates that methods are made of: first masks, pruning, drop and grow."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import checks, trees
from dst_jax.pruning import distributions, scores
from dst_jax.pruning.distributions import Distribution
from dst_jax.pruning.protocol import Step
from dst_jax.pruning.selection import JOINT, AtLeast, KeptCount, ahead
from dst_jax.pruning.structures import Structure, select
from dst_jax.typing import Mask, Params

__all__ = [
    "Importance",
    "LayerOrGlobal",
    "active",
    "ceiling",
    "dense_mask",
    "drop_and_grow",
    "floor",
    "grow",
    "importance",
    "keep",
    "prune",
    "random_mask",
]

Importance = Callable[[Step], Params]
"""Scores of all prunable weights at a step."""
LayerOrGlobal = Literal["layer", "global"]
"""Whether a number holds for each layer, or for all layers together."""


_IMPORTANCE: dict[str, Importance] = {
    "magnitude": lambda s: scores.magnitude(s.params),
    "gradient": lambda s: scores.gradient(s.params, grads=s.grads),
    "random": lambda s: scores.random(s.params, key=s.key),
    "snip": lambda s: scores.snip(s.params, grads=s.grads),
    "taylor": lambda s: scores.taylor(s.params, grads=s.grads),
}


def importance(argument: str, value: str | Importance) -> Importance:
    """A score during training by name, or a function of `Step` as it is.

    Args:
      argument: name of the argument, for the message.
      value: "magnitude", "gradient", "random", "snip", "taylor", `module:attribute`, or
        a function of `Step`.

    Raises:
      ValueError: an unknown name, or what is found is no function.

    >>> step = Step({"w": jnp.array([-2.0])}, None, None, None, None, None)
    >>> importance("drop", "magnitude")(step)["w"].tolist()
    [2.0]
    """
    if callable(value):
        return value
    return checks.function(argument, value, _IMPORTANCE)


def dense_mask(params: Params) -> Mask:
    """A mask that keeps everything.

    Args:
      params: layers.

    >>> dense_mask({"w": jnp.zeros(2), "b": None})["w"].tolist()
    [True, True]
    """
    return jax.tree.map(lambda w: jnp.ones(w.shape, bool), params)


def keep(
    importances: Params,
    sparsity: Any,
    distribution: str | Distribution,
    structure: Structure | None = None,
) -> Mask:
    """A mask that keeps the highest scores at a sparsity.

    Args:
      importances: scores of the layers.
      sparsity: sparsity of all layers together; may be traced.
      distribution: distribution between layers, by name or as a function.
      structure: units of weights that are kept together; None = single weights.

    >>> keep({"w": jnp.array([[1.0, 2.0]])}, 0.5, "uniform")["w"].tolist()
    [[False, True]]
    """
    share_out = distributions.by_name(distribution)
    return select(importances, share_out(_shapes(importances), sparsity), structure)


def random_mask(
    params: Params,
    key: Array,
    sparsity: Any,
    distribution: str | Distribution,
    structure: Structure | None = None,
) -> Mask:
    """A random mask with the distribution's number of weights in every layer.

    Args:
      params: layers.
      key: random key.
      sparsity, distribution, structure: as for `keep`.

    >>> params = {"w": jnp.ones((4, 5))}
    >>> int(random_mask(params, jax.random.key(0), 0.9, "erk")["w"].sum())
    2
    """
    return keep(scores.random(params, key=key), sparsity, distribution, structure)


def prune(
    importances: Params,
    mask: Mask,
    sparsity: Any,
    distribution: str | Distribution,
    structure: Structure | None = None,
) -> Mask:
    """A mask that keeps the active weights of highest score.

    No pruned weight comes back, whatever its score. A layer that the distribution would
    give more weights than are active keeps those it has, and the others make up for it.

    Args:
      importances: scores of the layers; NaN ranks lowest of what is active.
      mask: present mask.
      sparsity, distribution, structure: as for `keep`.

    >>> w = {"w": jnp.array([[1.0, 2.0, 3.0, 4.0]])}
    >>> mask = {"w": jnp.array([[True, True, True, False]])}
    >>> prune(w, mask, 0.5, "uniform")["w"].tolist()
    [[False, True, True, False]]
    """
    wanted = distributions.by_name(distribution)(_shapes(importances), sparsity)
    exact = [k for k, n in wanted.items() if not isinstance(n, AtLeast)]
    most = active(mask, exact)
    if len(exact) < len(wanted):
        most = active(mask, wanted) | most
    kept = distributions.within(wanted, most)
    return select(importances, kept, structure, among=mask)


def grow(
    importances: Params, mask: Mask, kept: Any, structure: Structure | None = None
) -> Mask:
    """The mask with the pruned weights of highest score added to it.

    Args:
      importances: scores of the layers.
      mask: present mask.
      kept: numbers of weights that the result keeps, see `selection.KeptCounts`.
      structure: units of weights that are grown together; None = single weights.

    >>> mask = {"w": jnp.array([True, False, False])}
    >>> grow({"w": jnp.array([0.0, 1.0, 2.0])}, mask, {"w": 2})["w"].tolist()
    [True, False, True]
    """
    return select(ahead(mask, importances), kept, structure)


def drop_and_grow(
    drop_scores: Params,
    grow_scores: Params,
    mask: Mask,
    fraction: Any,
    *,
    scope: LayerOrGlobal = "layer",
    structure: Structure | None = None,
    rounded_up: bool = False,
) -> Mask:
    """The mask after dropping the lowest active weights and growing as many.

    A weight that is dropped may grow again in the same update, and keeps its value.

    Args:
      drop_scores: scores of active weights, the lowest dropped first.
      grow_scores: scores of all others, the highest grown first.
      mask: present mask.
      fraction: fraction of the active weights that is dropped; may be traced.
      scope: "layer" keeps every layer's number, "global" only the number of all.
      structure: units of weights that are dropped and grown together.
      rounded_up: whether the number of dropped weights is rounded up, not down.

    Reference:
      Evci et al. 2020 (RigL, arXiv 1911.11134).

    >>> mask = {"w": jnp.array([True, True, False, False])}
    >>> w, g = {"w": jnp.array([3.0, 1.0, 0, 0])}, {"w": jnp.array([0, 0, 1.0, 2.0])}
    >>> drop_and_grow(w, g, mask, 0.5)["w"].tolist()
    [True, False, False, True]
    """
    checks.one_of("scope", scope, get_args(LayerOrGlobal))
    names = trees.named_leaves(mask) if scope == "layer" else [JOINT]
    before = active(mask, names)
    whole = ceiling if rounded_up else floor
    kept = {k: n - whole(fraction, n) for k, n in before.items()}
    remaining = select(drop_scores, kept, structure, among=mask)
    return grow(grow_scores, remaining, before, structure)


def active(mask: Mask, names: Any) -> dict[str, Array]:
    """The number of active weights of every layer.

    Args:
      mask: mask of layers.
      names: layers to count; the others are counted together as `JOINT`.

    >>> mask = {"a": jnp.array([True, True]), "b": jnp.array([True, False])}
    >>> {k: int(n) for k, n in active(mask, ["a", ""]).items()}
    {'a': 2, '': 1}
    """
    found = {k: jnp.zeros((), jnp.int32) for k in names}
    for name, leaf in trees.named_leaves(mask).items():
        group = name if name in found else JOINT
        found[group] += leaf.sum(dtype=jnp.int32)
    return found


def floor(fraction: Any, n: KeptCount) -> Array:
    """`floor(fraction * n)`, exact where float32 has 0.3 * 10 a little below 3.

    Args:
      fraction: number in [0, 1]; may be traced.
      n: whole number.

    >>> int(floor(0.3, 10))
    3
    """
    exact = jnp.asarray(fraction, jnp.float32) * n
    return jnp.floor(exact * (1 + 1e-6)).astype(jnp.int32)


def ceiling(fraction: Any, n: KeptCount) -> Array:
    """`ceil(fraction * n)`, exact where float32 has 0.7 * 10 a little above 7.

    Args:
      fraction, n: as for `floor`.

    >>> int(ceiling(0.7, 10)), int(ceiling(0.01, 10))
    (7, 1)
    """
    exact = jnp.asarray(fraction, jnp.float32) * n
    return jnp.ceil(exact * (1 - 1e-6)).astype(jnp.int32)


def _shapes(tree: Params) -> dict[str, tuple[int, ...]]:
    return {name: leaf.shape for name, leaf in trees.named_leaves(tree).items()}
