"""Runs a model and returns its tapped activation maps."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array

from dst_jax.activations.tap import COLLECTION

__all__ = ["apply_with_activations"]


def apply_with_activations(
    model: nn.Module,
    variables: Mapping[str, Any],
    *args: Any,
    mutable: str | list[str] | tuple[str, ...] = (),
    **kwargs: Any,
) -> tuple[Any, OrderedDict[str, Array], dict[str, Any]]:
    """`model.apply` that also returns the map at every `Tap`.

    Args:
      model: Linen module with taps.
      variables: variables of the model.
      *args: inputs of the model.
      mutable: collections that the pass updates, for instance "batch_stats".
      **kwargs: further arguments of `model.apply`: `train`, `rngs`, `method`, ...

    Returns:
      `(output, activations, updated_collections)`: `activations` maps module paths
      such as `layer1/0/relu1` to arrays (batch, ...), in order of execution.

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax.activations.tap import Tap
    >>> model = nn.Sequential([nn.Dense(3), nn.relu, Tap()])
    >>> variables = model.init(jax.random.key(0), jnp.ones((2, 4)))
    >>> _, maps, _ = apply_with_activations(model, variables, jnp.ones((2, 4)))
    >>> {name: x.shape for name, x in maps.items()}
    {'layers_2': (2, 3)}
    """
    collections = [mutable] if isinstance(mutable, str) else list(mutable)
    fresh = {name: tree for name, tree in variables.items() if name != COLLECTION}
    output, updated = model.apply(
        fresh, *args, mutable=[*collections, COLLECTION], **kwargs
    )
    updated = dict(updated)
    sown = updated.pop(COLLECTION, {})
    # Flax keeps the order of execution; jit would sort a plain dict by key.
    maps: OrderedDict[str, Any] = OrderedDict(
        (name.removesuffix("/map"), x)
        for name, x in flatten_dict(sown, sep="/").items()
    )
    return output, maps, updated
