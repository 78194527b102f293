"""Post-training: a trained network pruned on a few images without labels (UniPTS).

The densities of the layers are searched, then the weights that are kept learn to answer
as the dense network does. It takes minutes where training takes hours.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from dst_jax import checks, data, pruning, trees
from dst_jax.kernels import Kernels
from dst_jax.pruning.regrowth import KeptWeights, Searched, genetic_search, regrown
from dst_jax.train.batch_statistics import re_estimated
from dst_jax.train.distillation import distillation_term
from dst_jax.train.objective import Objective
from dst_jax.train.optimizer import chain, learning_rate
from dst_jax.train.stage import Stage
from dst_jax.train.teaching import (
    Taught,
    Unlabelled,
    decaying_base,
    divergence,
    untaught,
)
from dst_jax.typing import Mask, Model, Network, Rules, Variables, is_traced

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = ["Densities", "calibration", "post_training", "search_densities"]

REFINEMENT = 5e-5
"""Decay of pruned weights of the authors' SR-STE."""


class Densities(NamedTuple):
    """What a search has found for one sparsity.

    Attributes:
      counts: weights that each layer keeps.
      searched: the search.
    """

    counts: KeptWeights
    searched: Searched


def search_densities(
    context: "Context",
    network: Network,
    *,
    sparsity: float,
    population: int = 8,
    generations: int = 6,
    parents: int = 4,
    reserve: float = 0.05,
    images: int | None = None,
    seed: int = 0,
) -> Densities:
    """How many weights each layer keeps, by a genetic search over `pruning.regrown`.

    The fitness is the negative divergence of the pruned network's classes from the
    dense one's, once the statistics of batch normalisation are measured anew. Labels
    are not read; the authors' code reads them, for the accuracy.

    Args:
      context: data and devices; the images are those of the training split.
      network: the dense network.
      sparsity: sparsity of all layers together, in [0, 1).
      population, generations, parents: size of the search; the authors take 25, 25
        and 10.
      reserve: share of all weights that the search hands out.
      images: number of images; all of the training split if None.
      seed: seed of the search.

    Raises:
      ValueError: a value is out of range, or nothing is prunable.
    """
    kernels = context.kernels_of(network)
    rules = context.prunable
    layers, _ = pruning.masks.prunable_layers(network.params, rules, kernels=kernels)
    sizes = {name: int(w.size) for name, w in trees.named_leaves(layers).items()}
    batches = calibration(context, images=images)
    wanted = [_outputs(network.model, dict(network.variables), x) for x in batches]
    grown = partial(regrown, sizes, sparsity=sparsity, reserve=reserve)

    def fitness(numbers: Float[np.ndarray, " layers"]) -> float:
        mask = grown(numbers).mask(network.params, rules=rules, kernels=kernels)
        pruned = network.with_params(pruning.masks.apply(mask, network.params))
        pruned = re_estimated(pruned, batches)
        apart = [
            _divergence(pruned.model, dict(pruned.variables), x, taught)
            for x, taught in zip(batches, wanted, strict=True)
        ]
        return -float(jnp.stack(apart).sum()) / sum(map(len, batches))

    found = genetic_search(
        fitness,
        len(sizes),
        population=population,
        generations=generations,
        parents=parents,
        seed=seed,
    )
    return Densities(grown(found.best), found)


def calibration(context: "Context", *, images: int | None = None) -> list[Array]:
    """Inputs from the training split, in batches of the size of training.

    Args:
      context: data and devices.
      images: number of images; all of the split if None. A last batch that is not full
        is left out, unless it is the only one.

    >>> from dst_jax import models, train
    >>> from dst_jax.runs import Run
    >>> context = train.Context(
    ...     model=models.create("mlp", num_classes=10), dataset=data.load("digits"),
    ...     run=Run("runs/mlp"), batch_size=64)
    >>> [x.shape[0] for x in calibration(context, images=200)]
    [64, 64, 64]
    """
    split, size = context.dataset.train, context.batch_size
    taken = len(split) if images is None else min(images, len(split))
    taken = taken - taken % size or taken
    part = replace(split, indices=split.indices[:taken])
    batches = data.eval_batches(part, batch_size=min(size, taken))
    return [context.preprocess(jnp.asarray(batch.image)) for batch in batches]


def post_training(
    *,
    counts: KeptWeights,
    epochs: float,
    name: str = "post_training",
    title: str = "pruned after training",
    lr: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 1e-4,
    warmup_epochs: float = 1,
    temperature: float = 4.0,
    prunable: Rules = (),
    start: str | None = None,
) -> Stage:
    """The stage that prunes a trained network and distils the dense one into it.

    SR-STE with a decay of 5e-5 under masks of the largest weights, `counts` of them;
    the loss is `base_decayed_kl` to the network that the stage starts from. In the end
    the statistics of batch normalisation are measured on the training split.

    Args:
      counts: weights that each layer keeps, see `search_densities`.
      epochs: length of the stage; the authors take 100. 0 prunes only.
      name: name of the stage.
      title: what reports call its network.
      lr: peak learning rate, along half a cosine to 0.
      momentum: momentum of SGD.
      weight_decay: factor of the decay, on kernels only.
      warmup_epochs: epochs in which the learning rate rises.
      temperature: temperature of the teacher; the authors'. A teacher that is not sure
        has few differences between classes left at 4.
      prunable: `((regex, bool), ...)`: the weights that `counts` is about.
      start: name of the stage to start from.

    Raises:
      ValueError: a value is out of range.

    Reference:
      UniPTS (Xie et al. 2024, arXiv 2405.18810), from the authors' code.

    >>> stage = post_training(counts=KeptWeights({"fc/kernel": 10}), epochs=30)
    >>> stage.name, stage.epochs
    ('post_training', 30)
    """
    checks.positive("lr", lr)
    checks.positive("temperature", temperature)
    checks.at_least("warmup_epochs", warmup_epochs, 0)
    optimizer = partial(
        _optimizer,
        counts=counts,
        lr=lr,
        warmup=min(warmup_epochs, epochs),
        momentum=momentum,
        weight_decay=weight_decay,
        rules=tuple(prunable),
    )
    return Stage(
        name=name,
        title=title,
        epochs=epochs,
        optimizer=optimizer,
        objective=Objective(terms=(distillation_term(1.0),)),
        schedules=decaying_base,
        on_entry=_WithTeacher(temperature),
        on_exit=_Measured(),
        completed_by=_unlabelled,
        start=start,
    )


def _optimizer(
    *,
    counts: KeptWeights,
    lr: float,
    warmup: float,
    momentum: float,
    weight_decay: float,
    rules: Rules,
    steps: int,
    steps_per_epoch: int,
    mask: Mask,
    seed: int,
    kernels: Kernels | None = None,
) -> optax.GradientTransformation:
    del mask
    rate = learning_rate(lr, steps=steps, warmup=round(warmup * steps_per_epoch))
    return pruning.sr_ste(
        chain(rate, momentum=momentum, weight_decay=weight_decay, kernels=kernels),
        structure=None,
        sparsity=0.0,  # `counts` says how many weights stay
        refinement=REFINEMENT,
        distribution=counts,
        rules=rules,
        kernels=kernels,
        seed=seed,
    )


@dataclass(frozen=True)
class _WithTeacher:
    """The network as a student of itself."""

    temperature: float

    def __call__(self, network: Network) -> Network:
        student = network._replace(mask=None)
        return Taught.network(student, student, temperature=self.temperature)


def _unlabelled(stage: Stage, network: Network, *, context: "Context") -> Stage:
    del network
    terms = stage.objective.terms
    return replace(stage, objective=Objective(terms, Unlabelled(context.task)))


@dataclass(frozen=True)
class _Measured:
    """The student, with statistics of batch normalisation from the training split."""

    def __call__(self, network: Network, *, context: "Context") -> Network:
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        return re_estimated(untaught(network), calibration(context))

    def rehearse(self, network: Network, *, context: "Context") -> Network:
        del context
        return untaught(network)


@partial(jax.jit, static_argnums=0)
def _outputs(model: Model, variables: Variables, x: Array) -> Array:
    return model(variables, x, train=False, rngs=None)[0]


@partial(jax.jit, static_argnums=0)
def _divergence(
    model: Model, variables: Variables, x: Array, taught: Array
) -> Float[Array, ""]:
    outputs = model(variables, x, train=False, rngs=None)[0]
    return divergence(outputs, taught).sum()
