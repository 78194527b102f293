"""What stages do to a network on entry and on exit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np
from jax.typing import ArrayLike

from dst_jax import activations, channels, checks, trees
from dst_jax.models.smaller import labelled, smaller_network
from dst_jax.train.channel_groups import channel_groups, open_groups
from dst_jax.train.stage import Hook, accepted
from dst_jax.typing import Mask, Network, is_traced

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = [
    "Patterning",
    "Prune",
    "RemoveUnread",
    "Thresholding",
    "choose_mask",
    "no_mask",
    "one_after_another",
]

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
      value: entries below it become 0: one for all maps, or by name of the map; maps
        that are not named have none.
      kind: "hard" or "soft".
    """

    value: float | Mapping[str, ArrayLike]
    kind: str = "hard"

    def __call__(self, network: Network, *, context: "Context") -> Network:
        """The network with the threshold at every tap.

        Raises:
          ValueError: a map that is named is none of the network's.
        """
        names = context.maps_of(network)
        if isinstance(self.value, Mapping):
            for name in self.value:
                checks.one_of("map of a threshold", name, names)
            thresholds = dict(self.value)
        else:
            thresholds = dict.fromkeys(names, self.value)
        return network._replace(
            variables=activations.with_thresholds(
                network.variables, thresholds, kind=self.kind
            )
        )


@dataclass(frozen=True)
class Patterning:
    """N:M patterns of activation maps, put there on a stage's entry.

    See `activations.with_patterns`. They stay in the network from then on.

    Attributes:
      rules: `((regex, pattern), ...)`, such as `(("layer[12]", "2:4"),)`. A regex is
        searched for in the name of a map; the first match wins, other maps have none.
    """

    rules: Sequence[tuple[str, str]]

    def __call__(self, network: Network, *, context: "Context") -> Network:
        """The network with the patterns at its taps.

        Raises:
          ValueError: a regex matches no map.
        """
        names = dict.fromkeys(context.maps_of(network), 0)
        chosen = trees.select(names, self.rules, default=None)
        patterns = {name: text for name, text in chosen.items() if text is not None}
        return network._replace(
            variables=activations.with_patterns(network.variables, patterns)
        )


def one_after_another(*hooks: Hook | None) -> Hook | None:
    """A function for `Stage.on_entry` that applies several; None of none.

    Args:
      *hooks: functions of a network; None for nothing.

    >>> both = one_after_another(no_mask, None, no_mask)
    >>> both(Network(print, {"params": {}}, mask={}), context=None).mask is None
    True
    """
    given = [hook for hook in hooks if hook is not None]
    if len(given) < 2:
        return given[0] if given else None

    def on_entry(network: Network, *, context: "Context") -> Network:
        for hook in given:
            network = hook(network, **accepted(hook, context=context))
        return network

    return on_entry


@dataclass(frozen=True)
class RemoveUnread:
    """Removes the units of channels that the mask lets no weight read, on exit.

    No output changes. What is removed depends on values.

    Attributes:
      groups: which groups may lose units, see `channel_groups.open_groups`.

    >>> RemoveUnread().groups
    'inner'
    """

    groups: str = "inner"

    def __call__(self, network: Network, *, context: "Context") -> Network:
        """The smaller network, with its mask."""
        for leaf in filter(is_traced, jax.tree.leaves(network.mask)):
            np.asarray(leaf)  # JAX says that a value is needed
        own = labelled(network, context.example)
        every = channel_groups(context, own)
        keep = channels.unread(network.mask, open_groups(every, self.groups))
        kept = sum(int(units.sum()) for units in keep.values())
        units = sum(units.size for units in keep.values())
        context.console.say(f"{kept} of {units} units of {len(keep)} groups stay")
        return smaller_network(own, every, keep)

    def rehearse(self, network: Network, *, context: "Context") -> Network:
        """The shapes of a network that has lost nothing.

        Raises:
          ValueError: no group may lose units.
        """
        own = labelled(network, context.example)
        every = channel_groups(context, own)
        open_groups(every, self.groups)
        return jax.eval_shape(partial(smaller_network, groups=every, keep={}), own)
