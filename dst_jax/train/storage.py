"""Bits that the tensors of a network take in each storage format, exactly."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array

from dst_jax import cost, data
from dst_jax.train.context import Context
from dst_jax.train.estimates import EXAMPLES
from dst_jax.trees import named_leaves
from dst_jax.typing import Network, Variables

__all__ = ["storage"]


def storage(
    context: Context,
    network: Network,
    *,
    value_bits: int = 16,
    examples: int = EXAMPLES,
) -> dict[str, Any]:
    """The bits of every parameter, and of the maps of the first test images.

    N:M groups run along the channels that a product sums over: the inputs of a kernel,
    the channels of a map.

    Args:
      context: the run's data and devices.
      network: any network for this data.
      value_bits: bits of a value, at least 1.
      examples: number of images, at least 1.

    Returns:
      What `dst_jax.runs` calls `storage/STAGE.json`.

    Raises:
      ValueError: `value_bits` is below 1.
    """
    network = context.with_model(network)
    measured = context.once(
        ("storage", value_bits),
        lambda: jax.jit(_bits, static_argnames=("value_bits", "axis")),
    )
    batch = next(iter(data.eval_batches(context.dataset.test, batch_size=examples)))
    maps = _maps(context, network)(jax.device_get(network.variables), batch.image)
    weights = named_leaves(jax.device_get(network.params))
    return {
        "value_bits": value_bits,
        "examples": len(batch.label),
        "tensors": [
            _tensor(kind, name, tensor, measured, value_bits)
            for kind, tensors in (("weight", weights), ("map", named_leaves(maps)))
            for name, tensor in tensors.items()
        ],
    }


def _maps(context: Context, network: Network) -> Callable[..., Mapping[str, Array]]:
    """On one device, as a few images are enough."""
    model = network.model

    def maps(variables: Variables, images: Array) -> Mapping[str, Array]:
        return model(variables, context.preprocess(images), train=False, rngs=None)[1]

    return context.once(("maps of", model), lambda: jax.jit(maps))


def _tensor(
    kind: str,
    name: str,
    tensor: Array,
    measured: Callable[..., cost.Storage],
    value_bits: int,
) -> dict[str, Any]:
    axis = -2 if kind == "weight" and tensor.ndim > 1 else -1
    found = jax.device_get(measured(tensor, value_bits=value_bits, axis=axis))
    bits = {form: int(count) for form, count in found.items()}
    return {
        "kind": kind,
        "name": name,
        "elements": int(tensor.size),
        "nonzeros": bits.pop("nonzeros"),
        "bits": bits,
        "smallest": cost.smallest(bits),
    }


def _bits(tensor: Array, *, value_bits: int, axis: int) -> cost.Storage:
    return cost.table(tensor != 0, value_bits=value_bits, axis=axis)
