"""A penalty that weights every activation by the multiplications it takes part in."""

import re
from collections.abc import Mapping
from dataclasses import replace

from jaxtyping import Array

from dst_jax import cost
from dst_jax.train.terms import Term
from dst_jax.typing import Network, Variables

__all__ = ["flops_aware"]


def flops_aware(term: Term, network: Network, example: Array) -> Term:
    """The term with a weight for every element of every map: its multiplications.

    Weights are scaled to a mean of 1 over all elements, so that strengths stay
    comparable with the plain penalty's. Pruned weights cost nothing; a map that no
    product reads weighs 0.

    Args:
      term: a penalty on maps that is a sum over elements, without layer weights.
      network: the network with its pruned weights at 0; only which ones are 0 matters.
      example: an input, (1, ...).

    Raises:
      ValueError: the term has layer weights or is not over maps, or no map is read by
        a product.

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax import models, penalties
    >>> from dst_jax.train.state import init_network
    >>> x = jnp.ones((1, 2, 2, 1))
    >>> mlp = models.create("mlp", num_classes=2, hidden=(8,))
    >>> network = init_network(mlp, x, jax.random.key(0))
    >>> flops_aware(Term(penalties.l1, 1.0), network, x).layers
    ('^relu1$',)
    """
    if term.over != "maps":
        raise ValueError(f"a FLOPs-aware term is over maps, got one over {term.over}")
    if term.layers:
        raise ValueError(
            f"a FLOPs-aware term weighs the layers itself, got layers {term.layers}"
        )

    def maps(variables: Variables, x: Array) -> Mapping[str, Array]:
        return network.model(variables, x, train=False, rngs=None)[1]

    costs = cost.sensitivity(maps)(network.variables, example)
    whole = sum(float(x.sum()) for x in costs.values())
    if whole == 0:
        raise ValueError("no activation map is read by a convolution or product")
    scale = sum(x.size for x in costs.values()) / whole
    return replace(
        term,
        layers=tuple(f"^{re.escape(name)}$" for name in costs),
        layer_weights=tuple(scale * x for x in costs.values()),
    )
