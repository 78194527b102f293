"""The identity, and parametrisations one after another."""

from dataclasses import dataclass
from typing import Any

from jax.typing import ArrayLike

from dst_jax.parametrisations.base import (
    Parametrisation,
    StateLike,
    finish_mask,
    finish_variables,
    init_with,
)
from dst_jax.typing import Mask, Params, Variables

__all__ = ["Composition", "Identity", "compose", "identity"]


@dataclass(frozen=True)
class Identity:
    """The weights are what is trained."""

    def init(self, weights: Params, *, seed: ArrayLike = 0) -> Params:
        """The weights.

        >>> weights = {"w": 1.0}
        >>> identity.init(weights) is weights
        True
        """
        del seed
        return weights

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """What is trained."""
        del state
        return trained

    def finish(self, trained: Params, state: StateLike) -> Params:
        """What is trained.

        >>> identity.finish({"w": 1.0}, ())
        {'w': 1.0}
        """
        del state
        return trained


identity = Identity()
"""The parametrisation in which the weights themselves are trained."""


@dataclass(frozen=True)
class Composition:
    """Parametrisations in the order in which the trained tree passes through them."""

    parts: tuple[Parametrisation, ...]

    def init(
        self,
        weights: Params,
        *,
        seed: ArrayLike = 0,
        variables: Variables | None = None,
    ) -> Params:
        """The tree to train: the last part takes the weights, the first comes last.

        >>> import jax.numpy as jnp
        >>> from dst_jax.parametrisations import shared
        >>> both = Composition((identity, shared([("b", "a")])))
        >>> sorted(both.init({"a": jnp.ones(2), "b": jnp.ones(2)}))
        ['scales', 'weights']
        """
        tree = weights
        for part in reversed(self.parts):
            tree = init_with(part, tree, variables or {}, seed=seed)
        return tree

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """The weights; every part sees the same state."""
        tree = trained
        for part in self.parts:
            tree = part(tree, state)
        return tree

    def finish(self, trained: Params, state: StateLike) -> Params:
        """The weights that are handed on, each part finished.

        >>> from dst_jax.parametrisations import straight_through
        >>> rounded = straight_through(lambda w, opt_state: round(w))
        >>> doubled = straight_through(lambda w, opt_state: 2 * w)
        >>> Composition((rounded, doubled)).finish(0.6, ())
        2
        >>> Composition((doubled, rounded)).finish(0.6, ())
        1
        """
        tree = trained
        for part in self.parts:
            tree = part.finish(tree, state)
        return tree

    def finish_variables(self, trained: Params, state: StateLike) -> dict[str, Any]:
        """The collections that the parts hand on next to the weights.

        >>> Composition((identity, identity)).finish_variables({"w": 1.0}, ())
        {}
        """
        found: dict[str, Any] = {}
        tree = trained
        for part in self.parts:
            found |= finish_variables(part, tree, state)
            tree = part.finish(tree, state)
        return found

    def finish_mask(self, mask: Mask) -> Mask:
        """The mask of the weights, from that of the trained tree.

        >>> from dst_jax.parametrisations import shared
        >>> mask = {"weights": {"a": "mask of a", "b": None}, "scales": {"b": None}}
        >>> Composition((identity, shared([("b", "a")]))).finish_mask(mask)
        {'a': 'mask of a', 'b': 'mask of a'}
        """
        for part in self.parts:
            mask = finish_mask(part, mask)
        return mask


def compose(*parametrisations: Parametrisation) -> Parametrisation:
    """One parametrisation out of several, in the order that `optax.chain` has.

        compose(a, b)(trained, state) = b(a(trained, state), state)
        compose(a, b).init(weights)   = a.init(b.init(weights))

    The first is the nearest to what is trained, the last to the network. A mask comes
    first, `compose(straight_through(read), shared(rules))`: the state that it reads is
    the optimizer's, whose mask is shaped like the trained tree.

    All parts see the same state and draw from the same seed. Nested compositions are
    flattened and identities are dropped, so that `compose(a, compose(b, c))` equals
    `compose(compose(a, b), c)`, and `compose(identity, a)` equals `a`.

    Raises:
      TypeError: an argument is not a parametrisation.

    >>> import jax
    >>> from dst_jax.parametrisations import State, shared, straight_through
    >>> doubled = straight_through(lambda w, _: jax.tree.map(lambda x: 2 * x, w))
    >>> both = compose(shared([("b", "a")]), doubled)
    >>> trained = both.init({"a": jax.numpy.ones(2), "b": jax.numpy.ones(2)})
    >>> trained["scales"]["b"] = jax.numpy.float32(0.25)
    >>> both(trained, State())["b"].tolist()
    [0.5, 0.5]
    """
    parts: list[Parametrisation] = []
    for part in parametrisations:
        if not isinstance(part, Parametrisation):
            raise TypeError(
                "compose takes parametrisations, with init, __call__ and finish, got"
                f" {part!r}"
            )
        if isinstance(part, Composition):
            parts.extend(part.parts)
        elif not isinstance(part, Identity):
            parts.append(part)
    if len(parts) == 1:
        return parts[0]
    return Composition(tuple(parts)) if parts else identity
