"""The options of every layer: masks of its weights, thresholds and patterns of maps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import pruning, trees
from dst_jax.pruning.layer_layout import LayerLayout
from dst_jax.pruning.structures import Structure
from dst_jax.train.context import Context
from dst_jax.train.per_layer.calibration import Calibration
from dst_jax.train.per_layer.map_options import MapOptions, map_options
from dst_jax.typing import Mask, Network, Params

__all__ = ["LayerOptions", "WeightOption", "layer_options", "weight_option"]


@dataclass(frozen=True)
class WeightOption:
    """One way to prune a layer.

    Attributes:
      text: what it is called.
      structure: which weights are kept together.
      density: share of the layer's weights that is kept, in (0, 1].
    """

    text: str
    structure: Structure
    density: float

    def mask(self, weights: Array) -> Array | None:
        """The mask of a layer, of its largest weights.

        None if the structure does not divide the layer, or rounds what it keeps to
        nothing. Of single weights at least one stays.

        Args:
          weights: weights of the layer, (*window, inputs, outputs).

        >>> weight_option("2:4").mask(jnp.arange(4.0)[:, None])[:, 0].tolist()
        [False, False, True, True]
        """
        if self.density == 1:
            return jnp.ones(weights.shape, bool)
        kept = max(math.floor(self.density * weights.size + 0.5), 1)
        try:
            mask = self.structure(jnp.abs(weights), kept)
        except ValueError:  # N:M or a block on a layer that it does not divide
            return None
        return mask if mask.any() else None


def weight_option(text: str) -> WeightOption:
    """An option by its text.

    Args:
      text: a density such as "0.25", N:M such as "2:4", or a structure of
        `pruning.structures.by_name` and a density, such as "channel_out=0.5".

    Raises:
      ValueError: an unknown structure, a density that is not in (0, 1], or one of N:M
        that is not N / M.

    >>> weight_option("channel_out=0.5").structure.name
    'channel(out)'
    """
    name, named, density = text.rpartition("=")
    if not name and ":" in text:
        structure = pruning.structures.by_name(text)
        return WeightOption(text, structure, float(structure.density or 1))
    structure = pruning.structures.by_name(name or "unstructured")
    try:
        share = float(density)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1 or (named and not name):
        raise ValueError(
            "a weight option must be a density in (0, 1], N:M or STRUCTURE=DENSITY,"
            f" got {text!r}"
        )
    if structure.density not in (None, share):
        raise ValueError(
            f"{name} keeps {structure.density:g} of the weights and takes no density,"
            f" got {text!r}"
        )
    return WeightOption(text, structure, share)


@dataclass(frozen=True)
class LayerOptions:
    """What can be chosen for every layer and every map of a network.

    The first option of each leaves it as it is.

    Attributes:
      network: the network, with exact zeros where its mask is False.
      layout: layout of its layers.
      layers: weights of the prunable layers by name, (*window, inputs, outputs).
      weights: the options of weights.
      masks: by layer, the mask of every option; None where a layer does not have it.
      maps: the options of maps.
    """

    network: Network
    layout: LayerLayout
    layers: Mapping[str, Array]
    weights: tuple[WeightOption, ...]
    masks: Mapping[str, tuple[Array | None, ...]]
    maps: MapOptions

    def mask(self, weights: Mapping[str, int]) -> Mask:
        """The mask of the network with an option for some layers.

        Args:
          weights: numbers of options by layer; 0 for the others.

        Raises:
          ValueError: a layer does not have the option.
        """
        for name, option in weights.items():
            if self.masks[name][option] is None:
                raise ValueError(
                    f"layer {name} has no option {self.weights[option].text}"
                )
        own = {name: self.masks[name][weights.get(name, 0)] for name in self.masks}
        return self._together(own)

    def with_layers(self, layers: Mapping[str, Array]) -> Params:
        """The parameters with other weights in some layers.

        Args:
          layers: weights by layer, (*window, inputs, outputs).
        """
        own = self._together({**self.layers, **layers})
        return jax.tree.map(
            lambda new, old: old if new is None else new,
            own,
            self.network.params,
            is_leaf=trees.is_none,
        )

    def network_at(
        self, weights: Mapping[str, int], levels: Mapping[str, int]
    ) -> Network:
        """The network of a choice.

        Args:
          weights: numbers of options by layer; 0 for the others.
          levels: numbers of levels by map; 0 for the others.

        Raises:
          ValueError: a layer or a map does not have its option.
        """
        mask = self.mask(weights)
        params = pruning.masks.apply(mask, self.network.params)
        found = self.network.with_params(params)._replace(mask=mask)
        return found._replace(variables=self.maps.applied(found.variables, levels))

    def _together(self, layers: Mapping[str, Array | None]) -> Params:
        weights, _ = _prunable(self.network.params, self.layout, self.layers)
        named = trees.map_named(lambda name, _: layers[name], weights)
        return self.layout.together(named, self.network.params)


def layer_options(
    context: Context,
    network: Network,
    examples: Calibration,
    *,
    weights: Sequence[str] = ("0.5", "0.25", "0.1"),
    maps: Sequence[str] = ("0.25", "0.5", "0.75"),
) -> LayerOptions:
    """The options of a network: every layer's masks, every map's levels.

    A mask keeps the layer's largest weights, of those that the network's own mask
    keeps. Levels of maps are those of `map_options`.

    Args:
      context: the run's prunable weights.
      network: the network.
      examples: calibration examples.
      weights: texts of options, see `weight_option`; "1" comes first in any case.
      maps: texts of options, see `share_or_pattern`: shares of the positive entries
        that become 0, and N:M patterns; "0" comes first.

    Raises:
      ValueError: an option is not valid, nothing is prunable, or the network has soft
        thresholds already.
    """
    options = tuple(map(weight_option, dict.fromkeys(["1", *weights])))
    kernels = context.kernels_of(network)
    if network.mask is not None:
        masked = pruning.masks.apply(network.mask, network.params)
        network = network.with_params(masked)
    tree, layout = pruning.masks.prunable_layers(
        network.params, context.prunable, kernels=kernels
    )
    layers = dict(trees.named_leaves(tree))
    return LayerOptions(
        network=network,
        layout=layout,
        layers=layers,
        weights=options,
        masks=_masks(network, layout, layers, options),
        maps=map_options(network, examples, maps),
    )


def _prunable(
    params: Params, layout: LayerLayout, layers: Mapping[str, Array]
) -> tuple[Params, LayerLayout]:
    """The tree of layers, with None for what is not prunable."""
    apart = layout.apart(params)
    kept = trees.map_named(lambda name, w: w if name in layers else None, apart)
    return kept, layout


def _masks(
    network: Network,
    layout: LayerLayout,
    layers: Mapping[str, Array],
    options: Sequence[WeightOption],
) -> dict[str, tuple[Array | None, ...]]:
    own = {} if network.mask is None else trees.named_leaves(layout.apart(network.mask))

    def within(name: str, mask: Array | None) -> Array | None:
        return mask if mask is None or name not in own else mask & own[name]

    return {
        name: tuple(within(name, option.mask(w)) for option in options)
        for name, w in layers.items()
    }
