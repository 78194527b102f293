"""From the tree that is trained to the weights a network computes with."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike
from jaxtyping import Array

from dst_jax.typing import Mask, Params, Variables, is_traced

__all__ = [
    "Parametrisation",
    "State",
    "StateLike",
    "finish_mask",
    "finish_variables",
    "init_with",
    "replicated",
]

StateLike = Any
"""A `State`, or `()` for a parametrisation that reads nothing of it."""


class State(NamedTuple):
    """What a parametrisation may read at a step; `()` where there is nothing."""

    opt_state: Any = ()
    """The optimizer's state, shaped by the trained tree."""
    step: Any = ()
    """int32: the optimizer steps done in this stage."""
    scheduled: Any = ()
    """Values that follow a schedule, by name; they may be traced."""


@runtime_checkable
class Parametrisation(Protocol):
    """Joins two trees: what is trained, and what the network computes with.

    Optimizers, masks, weight decay and checkpoints see the trained tree; gradients are
    taken in it, through the parametrisation. All three functions are pure.
    """

    def init(self, weights: Params, *, seed: ArrayLike = 0) -> Params:
        """The tree to train, from a network's weights."""
        ...

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """The weights that the network computes with at a step."""
        ...

    def finish(self, trained: Params, state: StateLike) -> Params:
        """The weights that a stage hands on: those of an ordinary network."""
        ...


def finish_mask(parametrisation: Parametrisation, mask: Mask) -> Mask:
    """The mask of the weights that are handed on, from that of the trained tree.

    A parametrisation whose two trees differ in structure has a method of the same name,
    which is called; for any other the two masks are one. None, no mask, stays None.

    >>> from dst_jax.parametrisations import shared
    >>> trained = {"weights": {"a": "mask of a", "b": None}, "scales": {"b": None}}
    >>> finish_mask(shared([("b", "a")]), trained)
    {'a': 'mask of a', 'b': 'mask of a'}
    """
    own = getattr(parametrisation, "finish_mask", None)
    return mask if own is None or mask is None else own(mask)


def finish_variables(
    parametrisation: Parametrisation, trained: Params, state: StateLike
) -> dict[str, Any]:
    """The collections that are handed on next to the weights, by name.

    They are what a parametrisation's method of the same name returns, if it has one: a
    stage that goes on from the network is given them, see `init_with`.

    >>> from dst_jax.parametrisations import identity
    >>> finish_variables(identity, {"w": 1.0}, ())
    {}
    """
    own = getattr(parametrisation, "finish_variables", None)
    return {} if own is None else own(trained, state)


def init_with(
    parametrisation: Parametrisation,
    weights: Params,
    variables: Variables,
    *,
    seed: ArrayLike = 0,
) -> Params:
    """The tree to train, from the weights and what else the network hands on.

    Args:
      parametrisation: one with a method `finish_variables` also takes `variables` in
        its `init`.
      weights: a network's weights.
      variables: its other collections.
      seed: seed of what the parametrisation draws.

    >>> from dst_jax.parametrisations import identity
    >>> init_with(identity, {"w": 1.0}, {"batch_stats": {}})
    {'w': 1.0}
    """
    if hasattr(parametrisation, "finish_variables"):
        init: Any = parametrisation.init
        return init(weights, seed=seed, variables=variables)
    return parametrisation.init(weights, seed=seed)


def replicated(value: Array, over: Params) -> Array:
    """`value` on all devices of the mesh that the arrays of a tree are sharded over.

    A new leaf of the trained tree is placed so from the start, and a jitted step does
    not compile again when its own output comes back. Traced arrays are left to JAX.

    >>> import jax.numpy as jnp
    >>> replicated(jnp.ones(2), {"w": jnp.ones(3)}).tolist()
    [1.0, 1.0]
    """
    for leaf in jax.tree.leaves(over):
        if isinstance(leaf, jax.Array) and not is_traced(leaf):
            sharding = leaf.sharding
            if isinstance(sharding, NamedSharding):
                everywhere = NamedSharding(sharding.mesh, PartitionSpec())
                return jax.device_put(value, everywhere)
    return value
