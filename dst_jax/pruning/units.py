"""Units: weights that are kept or pruned together."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dst_jax import trees
from dst_jax.pruning.selection import JOINT, AtLeast, KeptCount, KeptCounts, top_k
from dst_jax.typing import Mask, Params

__all__ = ["Shape", "Structure", "select"]

Shape = tuple[int, ...]
"""The shape of a layer, or of its grid of units."""


@dataclass(frozen=True)
class Structure:
    """How the weights of a layer group into units that are kept or pruned together.

    Attributes:
      name: name for messages.
      units: function of a layer's shape; the shape of its grid of units. Raises
        ValueError if the layer does not divide into units.
      pool: function of a layer's scores; the scores of its units.
      expand: function of a mask of units and a layer's shape; the layer's mask.
      choose: `(scores, kept) -> mask` of one layer, in place of the three, for
        structures that do not rank units against each other.
      density: share of weights that `choose` keeps for any number asked for.
    """

    name: str
    units: Callable[[Shape], Shape] = lambda shape: shape
    pool: Callable[[Array], Array] = lambda scores: scores
    expand: Callable[[Array, Shape], Array] = lambda mask, shape: mask
    choose: Callable[[Array, Any], Array] | None = None
    density: float | None = None

    def __call__(
        self, scores: Float[Array, "*shape"], kept: KeptCount
    ) -> Bool[Array, "*shape"]:
        """The mask of one layer that keeps about `kept` weights."""
        return select({"leaf": scores}, {"leaf": kept}, self)["leaf"]

    def size(self, shape: Shape) -> int:
        """The number of weights in a unit."""
        return math.prod(shape) // max(math.prod(self.units(shape)), 1)


def select(
    scores: Params,
    kept: KeptCounts,
    structure: Structure | None = None,
    *,
    among: Mask = None,
) -> Mask:
    """The best units of every layer, or of all layers together.

    Args:
      scores: pytree of float arrays; `None` leaves stay `None`.
      kept: number of weights by layer, as in `selection.top_k`.
      structure: units of weights that go together; None = single weights.
      among: mask of the weights that may be kept: units with none of them are not
        chosen, and other weights of a chosen unit are left out; None = all.

    Raises:
      ValueError: a leaf does not divide into units, or layers shall compete whose
        units differ in size.

    >>> from dst_jax.pruning.structures import block
    >>> scores = {"w": jnp.array([[4.0, 0.0], [3.0, 2.0]])}
    >>> select(scores, {"w": 2}, block((2, 1)))["w"].tolist()
    [[True, False], [True, False]]
    """
    if structure is None:
        return top_k(scores, kept, among=among)
    if among is not None:
        scores = _restricted(scores, among, structure)
    if choose := structure.choose:
        if JOINT in kept:
            raise ValueError(f"{structure.name} needs a number for every layer")
        chosen = trees.map_named(lambda name, s: choose(s, kept[name]), scores)
    else:
        eligible = None if among is None else _units_among(among, structure)
        pooled = jax.tree.map(structure.pool, scores)
        units = top_k(pooled, _in_units(kept, scores, structure), among=eligible)
        chosen = jax.tree.map(
            lambda mask, s: structure.expand(mask, s.shape), units, scores
        )
    return chosen if among is None else jax.tree.map(jnp.logical_and, chosen, among)


def _in_units(kept: KeptCounts, scores: Params, structure: Structure) -> KeptCounts:
    """Numbers of weights as the nearest numbers of units."""
    shapes = {name: leaf.shape for name, leaf in trees.named_leaves(scores).items()}
    sizes = {name: structure.size(shape) for name, shape in shapes.items()}
    exact = [k for k, n in kept.items() if not isinstance(n, AtLeast)]
    competing = {size for k, size in sizes.items() if size and k not in exact}
    if len(competing) > 1:
        raise ValueError(
            f"layers can only compete if their units are equal: {structure.name} has"
            f" units of {sorted(competing)} weights; use a distribution by layer"
        )
    sizes[JOINT] = next(iter(competing), 1)

    def in_units(name: str, number: Any) -> Any:
        size = max(sizes[name], 1)
        if isinstance(number, AtLeast):
            return AtLeast(-(-number.number // size))
        return (number + size // 2) // size

    return {name: in_units(name, number) for name, number in kept.items()}


def _restricted(scores: Params, among: Mask, structure: Structure) -> Params:
    """Scores that count in a unit: of weights that may be kept, and of no others.

    A structure that chooses by itself sees the others below everything else.
    """
    least = jnp.finfo(jnp.float32).min
    if structure.choose is None:
        return jax.tree.map(lambda s, m: jnp.where(m, s, 0), scores, among)

    def restricted(s: Array, m: Array) -> Array:
        real = jnp.where(jnp.isnan(s), least, jnp.maximum(s, least))
        return jnp.where(m, real, -jnp.inf)

    return jax.tree.map(restricted, scores, among)


def _units_among(among: Mask, structure: Structure) -> Mask:
    """The units in which any weight may be kept."""
    return jax.tree.map(lambda m: structure.pool(m.astype(jnp.float32)) > 0, among)
