"""Networks that cost what a removal leaves, with fresh weights."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dst_jax import channels
from dst_jax.channels import Groups
from dst_jax.models.smaller import Smaller, groups_of, smaller_network
from dst_jax.typing import Network, Variables

if TYPE_CHECKING:
    from dst_jax.train import Context

__all__ = ["multiplications", "narrower", "same_widths"]

_BISECTIONS = 12
"""How often the range of shares is halved: to 1/4096."""


def same_widths(network: Network, *, context: "Context") -> Network:
    """A function for `Stage.on_entry`: the widths stay, the weights are fresh.

    They are those of a fresh whole network without what the plan removes.

    >>> from experiments.grid.removals.options import RemovalGrid
    >>> cells = RemovalGrid(removals=("l2",)).comparison().cells
    >>> cells[3].on_entry is same_widths
    True
    """
    fresh = context.fresh_weights()
    model = network.model
    if not isinstance(model, Smaller):
        return fresh
    return smaller_network(fresh, _groups(fresh, model, context), model.plan)


def narrower(network: Network, *, context: "Context") -> Network:
    """A function for `Stage.on_entry`: a uniformly narrower network of fresh weights.

    Of every group the first units are kept, the same share of each: the largest share
    at which the network has at most as many multiplications as the given one.

    >>> from experiments.grid.removals.options import RemovalGrid
    >>> cells = RemovalGrid(removals=("l2",)).comparison().cells
    >>> cells[4].on_entry is narrower
    True
    """
    fresh = context.fresh_weights()
    if not isinstance(network.model, Smaller):
        return fresh
    groups = _groups(fresh, network.model, context)
    most = multiplications(network, context)
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        small = smaller_network(fresh, groups, _first(groups, middle))
        fits = multiplications(small, context) <= most
        low, high = (middle, high) if fits else (low, middle)
    return smaller_network(fresh, groups, _first(groups, low))


def multiplications(network: Network, context: "Context") -> int:
    """The dense multiplications of one forward pass of one image.

    Args:
      network: any network for the context's data; shapes will do.
      context: the context.
    """
    model, variables = network.model, dict(network.variables)
    plan = None
    if isinstance(model, Smaller):
        plan, variables = model.plan, model.whole_variables(variables)
        model = model.whole
    groups = Groups({}, shapes={}, fixed={}, aux={}) if plan is None else plan.groups

    def forward(variables: Variables, x: Any) -> Any:
        return model(variables, x, train=False, rngs=None)[:2]

    relaxed = channels.relaxed(forward, groups)
    keep = {} if plan is None else plan.keep
    return relaxed.exact(keep, variables, context.example)[0]


def _groups(fresh: Network, smaller: Smaller, context: "Context") -> Groups:
    return groups_of(fresh, context.example, split=smaller.plan.split)


def _first(groups: Groups, share: float) -> dict[str, np.ndarray]:
    """The first units of every group: a share of them, at least one."""
    return {
        name: np.arange(group.size) < max(1, math.floor(share * group.size + 1e-9))
        for name, group in groups.items()
    }
