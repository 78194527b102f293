"""A penalty that charges every activation what it costs in multiplications."""

import re
from dataclasses import replace
from typing import Any

from jaxtyping import Array

from dst_jax import activations, cost
from dst_jax.train.objective import Term
from dst_jax.train.state import Model, Weights

__all__ = ["flops_aware"]


def flops_aware(term: Term, model: Model, weights: Weights, example: Array) -> Term:
    """The term with a weight for every element of every map: its multiplications.

    Weights are scaled to a mean of 1 over all elements, so that strengths stay
    comparable with the plain penalty's. Pruned weights cost nothing; a map that no
    product reads weighs 0.

    Args:
      term: a penalty that is a sum over elements, without layer weights.
      model: the network.
      weights: with its pruned weights at 0; only which ones are 0 matters.
      example: an input, (1, ...).

    Raises:
      ValueError: the term has layer weights, or no map is read by a product.
    """
    if term.layers:
        raise ValueError(
            f"a FLOPs-aware term weighs the layers itself, got layers {term.layers}"
        )

    def maps(variables: Any, x: Array) -> dict[str, Array]:
        return activations.apply_with_activations(model, variables, x, train=False)[1]

    variables = {"params": weights.params, **weights.model_state}
    costs = cost.sensitivity(maps)(variables, example)
    whole = sum(float(x.sum()) for x in costs.values())
    if whole == 0:
        raise ValueError("no activation map is read by a convolution or product")
    scale = sum(x.size for x in costs.values()) / whole
    return replace(
        term,
        layers=tuple(f"^{re.escape(name)}$" for name in costs),
        layer_weights=tuple(scale * x for x in costs.values()),
    )
