"""Which operations a layer computes, and which activation maps it reads."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import cost
from dst_jax.train.context import Context
from dst_jax.train.per_layer.layer_options import LayerOptions
from dst_jax.typing import Variables

__all__ = ["Reading", "reading"]


class Reading(NamedTuple):
    """What is found from the trace of a network.

    Attributes:
      operations: by layer, the keys of its operations in `cost.profile`.
      maps: by layer, the maps whose elements its products read.
    """

    operations: Mapping[str, tuple[str, ...]]
    maps: Mapping[str, tuple[str, ...]]


def reading(context: Context, options: LayerOptions) -> Reading:
    """What every layer computes and reads.

    The weights of one layer after another are set to 0. Its operations are those whose
    weights are then 0, its maps those of which an element then takes part in fewer
    products (`cost.sensitivity`): followed through pooling, reshaping and
    concatenation, not through sums.

    Args:
      context: the shape of an input.
      options: options of a network. Maps are looked at if they have options.

    Raises:
      ValueError: as from `cost.profile` and `cost.sensitivity`.
    """
    model = options.network.model
    example = jnp.ones(context.example.shape, context.example.dtype)

    def outputs(variables: Variables, x: Array) -> Array:
        return model(variables, x, train=False, rngs=None)[0]

    def maps(variables: Variables, x: Array) -> Mapping[str, Array]:
        return model(variables, x, train=False, rngs=None)[1]

    @jax.jit
    def seen(layers: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        network = options.network.with_params(options.with_layers(layers))
        variables = dict(network.variables)
        static = {
            key: op.weight.any()
            for key, op in cost.profile(outputs)(variables, example).items()
            if not op.geometry.dynamic
        }
        if not options.maps.thresholds:
            return static, {}
        return static, cost.sensitivity(maps)(variables, example)

    # No weight is 0, so that what falls is due to the layer alone.
    whole = {k: jnp.where(w == 0, 1e-3, w) for k, w in options.layers.items()}
    every, costs = jax.device_get(seen(whole))
    operations, read = {}, {}
    for name, w in whole.items():
        alive, left = jax.device_get(seen({**whole, name: jnp.zeros_like(w)}))
        operations[name] = tuple(k for k in every if every[k] and not alive[k])
        read[name] = tuple(
            k
            for k in options.maps.thresholds
            if k in costs and (costs[k] != left[k]).any()
        )
    return Reading(operations, read)
