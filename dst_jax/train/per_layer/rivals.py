"""Networks of the same cost by the rules that an allocation is compared with."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from dst_jax import activations, checks, pruning
from dst_jax.cost.accelerators import Accelerator
from dst_jax.pruning.masks import Scope
from dst_jax.train.context import Context
from dst_jax.train.per_layer.layer_options import LayerOptions
from dst_jax.train.per_layer.option_costs import total_cost
from dst_jax.typing import Mask, Network

__all__ = ["RULES", "rival"]

_SCOPES: dict[str, Scope] = {"uniform": "layer", "erk": "erk", "global": "global"}
RULES = (*_SCOPES, "threshold")
"""Weights by magnitude, under one sparsity, ERK densities or all layers together; one
threshold for all maps."""

_MOST_SPARSITY = 0.999


def rival(
    context: Context,
    options: LayerOptions,
    images: ArrayLike,
    accelerator: Accelerator,
    *,
    rule: str,
    budget: float,
    measure: str = "cycles",
    bisections: int = 10,
) -> Network:
    """The network with the least of one number that meets a budget, by bisection.

    The number is the sparsity of the weights, or the threshold of all maps.

    Args:
      context: the run's.
      options: options of the network to start from.
      images: images (batch, ...) that the cost is the mean of, before preprocessing.
      accelerator: accelerator from `cost.accelerators`.
      rule: one of `RULES`.
      budget: what the network may cost for one example.
      measure: one of `MEASURES`.
      bisections: number of costs that are measured.

    Raises:
      ValueError: `rule` is unknown, the network has no thresholds to choose, or the
        rule does not reach the budget.
    """
    checks.one_of("rule", rule, RULES)
    if rule == "threshold":
        make, most = _threshold(options)
    else:
        make, most = _by_magnitude(context, options, _SCOPES[rule]), _MOST_SPARSITY

    def cost_at(number: float) -> float:
        network = make(number)
        return total_cost(context, network, images, accelerator, measure=measure)

    if cost_at(0.0) <= budget:
        return make(0.0)
    least = cost_at(most)
    if least > budget:
        raise ValueError(
            f"budget must be at least {least:.6g}, the least cost by the rule {rule!r},"
            f" got {budget:.6g}"
        )
    low, high = 0.0, most
    for _ in range(bisections):
        middle = (low + high) / 2
        low, high = (low, middle) if cost_at(middle) <= budget else (middle, high)
    return make(high)


def _by_magnitude(
    context: Context, options: LayerOptions, scope: Scope
) -> Callable[[float], Network]:
    start = options.network_at({}, {})
    kernels = context.kernels_of(options.network)

    def make(sparsity: float) -> Network:
        mask: Mask = pruning.masks.magnitude(
            start.params,
            sparsity,
            scope=scope,
            rules=context.prunable,
            kernels=kernels,
        )
        mask = jax.tree.map(jnp.logical_and, mask, start.mask)
        params = pruning.masks.apply(mask, start.params)
        return start.with_params(params)._replace(mask=mask)

    return make


def _threshold(options: LayerOptions) -> tuple[Callable[[float], Network], float]:
    if len(options.maps.shares) == 1 or not options.maps.thresholds:
        raise ValueError(
            "rule 'threshold' needs thresholds among the options of maps, got"
            f" {options.maps.texts[1:]}"
        )
    start = options.network_at({}, {})
    most = max(float(jnp.max(own[-1])) for own in options.maps.thresholds.values())

    def make(threshold: float) -> Network:
        values: dict[str, Any] = {
            name: jnp.maximum(own[0], threshold)
            for name, own in options.maps.thresholds.items()
        }
        variables = activations.with_thresholds(start.variables, values)
        return start._replace(variables=variables)

    return make, most
