"""Zeros of activation maps: exact counts, and two averages of the fractions."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

__all__ = ["Sparsity", "check_filled", "counts", "sparsity"]


class Sparsity(NamedTuple):
    """Zero fractions of activation maps, all in [0, 1]."""

    per_layer: dict[str, Float[Array, ""]]
    layer_mean: Float[Array, ""]
    """The plain mean of the layers' fractions."""
    element: Float[Array, ""]
    """Zeros of all maps over elements of all maps."""


def counts(
    activations: Mapping[str, Array | np.ndarray],
) -> OrderedDict[str, Int[Array, "batch"]]:
    """The exact number of zeros in every map, for each example.

    Counts are per example, so that int32 cannot overflow and sums over a set are exact.

    Args:
      activations: maps (batch, ...) by name.

    Returns:
      int32 arrays (batch,) by name. Negative zero is a zero, NaN is not.

    Raises:
      ValueError: a map is empty.

    >>> counts({"relu": jnp.array([[0.0, 1.0], [0.0, 0.0]])})["relu"].tolist()
    [1, 2]
    """
    check_filled(activations)
    return OrderedDict(
        (name, (jnp.asarray(x) == 0).sum(range(1, x.ndim), dtype=jnp.int32))
        for name, x in activations.items()
    )


def check_filled(activations: Mapping[str, Array | np.ndarray]) -> None:
    """Refuses maps without elements: no share of their zeros is defined.

    Raises:
      ValueError: a map is empty.

    >>> check_filled({"relu": jnp.ones((0, 3))})
    Traceback (most recent call last):
    ValueError: the map relu is empty: its shape is (0, 3)
    """
    for name, x in activations.items():
        if not x.size:
            raise ValueError(f"the map {name} is empty: its shape is {x.shape}")


def sparsity(activations: Mapping[str, Array | np.ndarray]) -> Sparsity:
    """Zero fractions: per layer, their plain mean, and element-weighted.

    The "percentage of zero values" of Yu & Tian 2024 (arXiv 2405.19652) is most likely
    the element-weighted fraction; the paper does not define the average.

    Args:
      activations: maps (batch, ...) by name, as `apply_with_activations` returns.

    Returns:
      Float32 fractions. For exact counts over a set, sum `counts`.

    Raises:
      ValueError: there are no maps, or a map is empty.

    >>> maps = {"a": jnp.array([[0.0, 1.0]]), "b": jnp.array([[0.0] * 6])}
    >>> found = sparsity(maps)
    >>> float(found.layer_mean), float(found.element)
    (0.75, 0.875)
    """
    if not activations:
        raise ValueError("activations is empty: the model has no Tap")
    per_layer = {
        name: zeros.astype(jnp.float32).mean() * (zeros.size / activations[name].size)
        for name, zeros in counts(activations).items()
    }
    elements = sum(x.size for x in activations.values())
    element = sum(per_layer[k] * (x.size / elements) for k, x in activations.items())
    layer_mean = jnp.stack(list(per_layer.values())).mean()
    return Sparsity(per_layer, layer_mean, jnp.asarray(element))
