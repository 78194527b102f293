"""Statistics of batch normalisation, measured anew."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax.typing import Model, Network, Variables

__all__ = ["STATISTICS", "re_estimated"]

STATISTICS = "batch_stats"
"""The collection that Flax's batch normalisation keeps."""


def re_estimated(network: Network, batches: Iterable[Array]) -> Network:
    """A network with the mean of its batches' statistics as running statistics.

    What it forgets is where they were: pruned weights give maps of another scale, and
    the running statistics of the dense network do not fit these. Each batch counts
    alike, as with PyTorch's `momentum=None`. Statistics must follow

        running <- m * running + (1 - m) * statistic of the batch

    with any constant `m` for each of them, as those of batch normalisation do. The
    result is exact to a relative 1e-7 / (1 - m).

    Args:
      network: a network; one without the collection `batch_stats` stays as it is.
      batches: inputs of the network, at least one batch.

    Raises:
      ValueError: there are no batches.

    Reference:
      Resetting and measuring the statistics is step one of UniPTS (arXiv 2405.18810).

    >>> from dst_jax.models.linen import Linen
    >>> from dst_jax.models.networks.normalization import BatchNorm
    >>> model = Linen(BatchNorm(momentum=0.5, use_running_average=False))
    >>> x = jnp.array([[1.0], [5.0]])
    >>> network = Network(model, model.init(jax.random.key(0), x))
    >>> found = re_estimated(network, [x, x + 2]).variables["batch_stats"]
    >>> found["mean"].tolist(), found["var"].tolist()
    ([4.0], [8.0])
    """
    if STATISTICS not in network.variables:
        return network
    sums, taken = None, 0
    for x in batches:
        own = _statistics(network.model, dict(network.variables), x)
        sums = own if sums is None else jax.tree.map(jnp.add, sums, own)
        taken += 1
    if sums is None:
        raise ValueError("batches is empty: there is nothing to measure")
    mean = jax.tree.map(lambda total: total / taken, sums)
    return network._replace(variables={**network.variables, STATISTICS: mean})


@partial(jax.jit, static_argnums=0)
def _statistics(model: Model, variables: Variables, x: Array) -> Any:
    """The statistics of a batch, without those before: `u(0) / (1 - (u(1) - u(0)))`.

    `u` is the update of a running statistic, and the batch itself is normalised by its
    own, whatever the running ones are.
    """

    def updated(filled: Any) -> Any:
        started = jax.tree.map(filled, variables[STATISTICS])
        rngs = {"dropout": jax.random.key(0)}
        changed = {**variables, STATISTICS: started}
        return model(changed, x, train=True, rngs=rngs)[2][STATISTICS]

    zero, one = updated(jnp.zeros_like), updated(jnp.ones_like)
    return jax.tree.map(lambda a, b: a / (1 - (b - a)), zero, one)
