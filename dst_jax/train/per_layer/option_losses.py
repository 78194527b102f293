"""How much the loss rises with every option alone, measured on calibration examples."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dst_jax.train.context import Context
from dst_jax.train.per_layer.calibration import Calibration
from dst_jax.train.per_layer.layer_options import LayerOptions
from dst_jax.typing import Network, Variables

__all__ = ["OptionLosses", "mean_loss", "option_losses"]


class OptionLosses(NamedTuple):
    """Increases of the loss over that of the network that the options depart from.

    Attributes:
      weights: by layer, for every option; `inf` where the layer does not have it.
      maps: by map, for every level; `inf` where the map does not have it.
    """

    weights: Mapping[str, Float[np.ndarray, " options"]]
    maps: Mapping[str, Float[np.ndarray, " levels"]]


def mean_loss(context: Context, network: Network, examples: Calibration) -> float:
    """The task's mean loss of a network in evaluation mode.

    Networks of one model and structure share a program.

    Args:
      context: the task.
      network: the network.
      examples: calibration examples.
    """
    program = context.once(
        ("per-layer loss", network.model), lambda: jax.jit(_loss_of(context, network))
    )
    return float(program(dict(network.variables), *examples))


def option_losses(
    context: Context,
    options: LayerOptions,
    examples: Calibration,
    *,
    weights: Mapping[str, int] | None = None,
    levels: Mapping[str, int] | None = None,
) -> OptionLosses:
    """The measured increases: one option at a time, all else as it is.

    Increases are not sums over layers. Near a choice they are measured better from
    there: give the choice.

    Args:
      context: the task.
      options: options of a network.
      examples: calibration examples.
      weights: numbers of options by layer that the others have; 0 by default.
      levels: numbers of levels by map that the others have; 0 by default.

    Raises:
      ValueError: the loss of the network that the options depart from is not finite.
    """
    others, chosen = dict(weights or {}), dict(levels or {})

    def measured(layer: Mapping[str, int], level: Mapping[str, int]) -> float:
        network = options.network_at({**others, **layer}, {**chosen, **level})
        return mean_loss(context, network, examples)

    start = measured({}, {})
    if not np.isfinite(start):
        raise ValueError(f"the loss of the network must be finite, got {start}")

    def rise(layer: Mapping[str, int], level: Mapping[str, int]) -> float:
        found = measured(layer, level) - start
        return found if np.isfinite(found) else np.inf

    def of_layer(name: str, option: int, mask: Array | None) -> float:
        if option == others.get(name, 0):
            return 0.0
        return np.inf if mask is None else rise({name: option}, {})

    def of_map(name: str, level: int) -> float:
        if level == chosen.get(name, 0):
            return 0.0
        return rise({}, {name: level}) if options.maps.has(name, level) else np.inf

    return OptionLosses(
        weights={
            name: np.array([of_layer(name, i, mask) for i, mask in enumerate(masks)])
            for name, masks in options.masks.items()
        },
        maps={
            name: np.array([of_map(name, i) for i in range(len(options.maps.texts))])
            for name in options.maps.thresholds
        },
    )


def _loss_of(
    context: Context, network: Network
) -> Callable[[Variables, Array, Array], Array]:
    def loss(variables: Variables, images: Array, labels: Array) -> Array:
        def one(batch: tuple[Array, Array]) -> Array:
            x, y = batch
            outputs = network.model(variables, x, train=False, rngs=None)[0]
            return context.task.loss(outputs, y)

        return jnp.mean(jax.lax.map(one, (images, labels)))

    return loss
