"""What stages do to a network on entry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dst_jax import activations
from dst_jax.train.stage import Hook, accepted
from dst_jax.typing import Mask, Network

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = ["Prune", "Thresholding", "choose_mask", "no_mask"]

Prune = Callable[..., Mask]
"""A mask from the weights, `(params)` or `(params, *, kernels)`."""


def no_mask(network: Network) -> Network:
    """The network without a mask, so that all weights are trained.

    >>> no_mask(Network(print, {"params": {}}, mask={})).mask is None
    True
    """
    return network._replace(mask=None)


def choose_mask(prune: Prune) -> Hook:
    """A function for `Stage.on_entry` that gives a network the mask of its weights.

    Args:
      prune: the mask from the weights, such as `partial(pruning.masks.magnitude,
        sparsity=0.6)`. If it has an argument `kernels`, it is given those of the
        network's trace.

    >>> from functools import partial
    >>> import jax.numpy as jnp
    >>> from dst_jax import pruning
    >>> prune = choose_mask(partial(pruning.masks.magnitude, sparsity=0.5))
    >>> params = {"kernel": jnp.array([[1.0, 3.0]])}
    >>> prune(Network(print, {"params": params})).mask["kernel"].tolist()
    [[False, True]]
    """

    def on_entry(network: Network, *, context: "Context | None" = None) -> Network:
        found = None if context is None else context.kernels_of(network)
        mask = prune(network.params, **accepted(prune, kernels=found))
        return network._replace(mask=mask)

    return on_entry


@dataclass(frozen=True)
class Thresholding:
    """A threshold for every activation map, put there on a stage's entry.

    See `activations.with_thresholds`. It stays in the network from then on.

    Attributes:
      value: entries below it become 0.
      kind: "hard" or "soft".
    """

    value: float
    kind: str = "hard"

    def __call__(self, network: Network, *, context: "Context") -> Network:
        """The network with the threshold at every tap."""
        thresholds = dict.fromkeys(context.maps_of(network), self.value)
        return network._replace(
            variables=activations.with_thresholds(
                network.variables, thresholds, kind=self.kind
            )
        )
