"""Scores of units that need data: gradients or activation maps of the training set."""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dst_jax import channels, pruning
from dst_jax.channels import Groups
from dst_jax.channels.scores import Scores
from dst_jax.train.context import Context
from dst_jax.train.sharding import put_batch
from dst_jax.train.stage import accepted
from dst_jax.typing import Network, Params

__all__ = ["UnitScore", "abstract_scores", "unit_score", "unit_scores"]

UnitScore = Callable[..., Scores]
"""`(params, groups)`, and `gradients` or `activations` where it needs data."""


def unit_score(name: str | UnitScore) -> UnitScore:
    """A score of `channels.scores` by its name, or any as `module:attribute`.

    Raises:
      ValueError: an unknown name, or what is found is no function.

    >>> unit_score("l2") is channels.scores.l2
    True
    """
    from dst_jax import checks

    if not isinstance(name, str):
        return name
    known = {n: getattr(channels.scores, n) for n in channels.scores.__all__[1:]}
    return checks.function("score", name, known)


def unit_scores(
    context: Context,
    network: Network,
    groups: Groups,
    score: UnitScore,
    *,
    path: str,
    batches: int,
) -> dict[str, np.ndarray]:
    """The scores of a network's units.

    A score with a parameter `gradients` is given those of the task's loss, one with a
    parameter `activations` the activation maps, both in evaluation mode, and is the
    mean over batches of the training set. It must be a function that JAX traces.

    Args:
      context: the run's.
      network: a network; its mask is applied.
      groups: groups of the network.
      score: from `unit_score`.
      path: path of the stage: seed of the order of the data.
      batches: number of batches.
    """
    if network.mask is not None:
        masked = pruning.masks.apply(network.mask, network.params)
        network = network.with_params(masked)
    if not accepted(score, gradients=None, activations=None):
        return jax.device_get(score(network.params, groups))

    def one(variables: Mapping[str, Any], batch: dict[str, Array]) -> Scores:
        own = network._replace(variables=variables)
        x = context.preprocess(batch["image"])
        return _of_batch(context, own, groups, score, x, batch["label"])

    step = jax.jit(one, out_shardings=context.sharding)
    total: Any = None
    with closing(context.train_batches(path)) as data:
        for _ in range(batches):
            found = step(dict(network.variables), put_batch(next(data), context.mesh))
            total = found if total is None else jax.tree.map(jnp.add, total, found)
    return {name: np.asarray(x) / batches for name, x in total.items()}


def abstract_scores(
    context: Context, network: Network, groups: Groups, score: UnitScore
) -> None:
    """Refuses a score that a network does not have; nothing is computed.

    Args:
      context: the run's.
      network: a network; shapes will do.
      groups: groups of the network.
      score: from `unit_score`.

    Raises:
      ValueError: from the score, such as that a group has no map or no scale.
    """
    needs = accepted(score, gradients=None, activations=None)

    def one(network: Network, x: Array) -> Scores:
        if "gradients" in needs:
            return score(network.params, groups, gradients=network.params)
        if not needs:
            return score(network.params, groups)
        maps = network.model(network.variables, x, train=False, rngs=None)[1]
        return score(network.params, groups, activations=maps)

    jax.eval_shape(one, network, context.example)


def _of_batch(
    context: Context,
    network: Network,
    groups: Groups,
    score: UnitScore,
    x: Array,
    labels: Array,
) -> Scores:
    def loss(params: Params) -> tuple[Array, Mapping[str, Array]]:
        variables = network.with_params(params).variables
        outputs, maps, _ = network.model(variables, x, train=False, rngs=None)
        return context.task.loss(outputs, labels), maps

    gradients, maps = jax.grad(loss, has_aux=True)(network.params)
    known = {name: x for name, x in maps.items() if name in groups.aux}
    offered = accepted(score, gradients=gradients, activations=known)
    return score(network.params, groups, **offered)
