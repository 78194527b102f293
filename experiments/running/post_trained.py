"""The stages of post-training after their searches, and the choice between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from dst_jax import train
from dst_jax.data import Split
from dst_jax.pruning import KeptWeights
from dst_jax.runs import GIVEN
from dst_jax.train import Context, Stage, stages
from dst_jax.typing import Network, is_traced
from experiments.running import fat_relu, finished_run
from experiments.running.quality import quality_of

__all__ = ["CHOSEN", "Candidate", "Choose", "Threshold", "on_few_images", "plan"]

CHOSEN, GIVEN_STAGE = "chosen", "given"


@dataclass(frozen=True)
class Candidate:
    """What a network costs and how good it is, on the hold-out.

    Attributes:
      stage: name of its stage.
      quality: best metric of the task.
      loss: what it has lost of that, in points where the metric is a share.
      cost: cycles of the accelerator, or multiplications of nonzeros, of an image.
    """

    stage: str
    quality: float
    loss: float
    cost: float


@dataclass(frozen=True)
class Threshold:
    """FATReLUs within what is left of a budget, on a stage's entry.

    Attributes:
      budget: what may be lost of the dense network's quality, in points.
      dense: quality of the dense network on the images of the search.
      images: largest number of images of the search.
      bisections: evaluations of these images per layer.

    >>> Threshold(budget=0.5, dense=0.9, images=1000).bisections
    3
    """

    budget: float
    dense: float
    images: int
    bisections: int = 3

    def __call__(self, network: Network, *, context: Context) -> Network:
        """The network with thresholds at its taps."""
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        few = on_few_images(context, self.images)
        quality = quality_of(context.task)
        own = measured(few, network)
        lost = quality.metric.scale * (quality.gain(self.dense) - quality.gain(own))
        found = fat_relu.search(
            few,
            network,
            budget=max(0.0, self.budget - lost),
            bisections=self.bisections,
        )
        return fat_relu.put_on(network, found.thresholds)

    def rehearse(self, network: Network, *, context: Context) -> Network:
        """The network as it is: thresholds change no shape of it."""
        del context
        return network


@dataclass(frozen=True)
class Choose:
    """The cheapest network of earlier stages within a budget, on a stage's entry.

    Everything is measured on the second half of the hold-out: thresholds are searched
    on the first. The first candidate is the reference.

    Attributes:
      names: names of the stages, that of the dense network first.
      budget: what may be lost of its quality, in points.
      accelerator: accelerator whose cycles count; None for multiplications.

    >>> Choose(("given", "weights_50"), 0.5).accelerator is None
    True
    """

    names: tuple[str, ...]
    budget: float
    accelerator: str | None = None

    def __call__(self, network: Network, *, context: Context) -> Network:
        """The network that is chosen."""
        for leaf in filter(is_traced, jax.tree.leaves(network)):
            np.asarray(leaf)  # JAX says that a value is needed
        found = self.candidates(context)
        best = self.best(found)
        what = "multiplications" if self.accelerator is None else "cycles"
        context.console.say(
            f"{CHOSEN}: {best.stage}, {best.cost / found[0].cost:.1%} of the dense"
            f" network's {what}, {best.loss:+.2f} points lost on the hold-out"
        )
        return finished_run.network_at_end(context, best.stage)

    def rehearse(self, network: Network, *, context: Context) -> Network:
        """The network as it is."""
        del context
        return network

    def candidates(self, context: Context) -> list[Candidate]:
        """Quality and cost of every stage's network on the half of the hold-out."""
        quality, found = quality_of(context.task), []
        _, half = fat_relu.halves(fat_relu.holdout(context))
        for name in self.names:
            network = finished_run.network_at_end(context, name)
            result = context.evaluate(network, half, count=True)
            own = quality(result.metrics)
            first = found[0].quality if found else own
            lost = quality.metric.scale * (quality.gain(first) - quality.gain(own))
            found.append(
                Candidate(name, own, lost, self._cost(context, network, result))
            )
        return found

    def best(self, candidates: Sequence[Candidate]) -> Candidate:
        """The cheapest within the budget; the first always is.

        Args:
          candidates: the candidates.

        >>> both = [Candidate("a", 0.9, 0.0, 8.0), Candidate("b", 0.8, 10.0, 1.0)]
        >>> [Choose(("a", "b"), budget).best(both).stage for budget in (5, 10)]
        ['a', 'b']
        """
        within = [c for c in candidates if c.loss <= self.budget + 1e-9]
        return min(within, key=lambda candidate: candidate.cost)

    def _cost(
        self, context: Context, network: Network, result: train.Evaluation
    ) -> float:
        if self.accelerator is None:
            effectual = sum(int(c.effectual) for c in result.counts.values())
            return effectual / result.examples
        # Estimates read the split that is called `test`: here, the hold-out.
        dataset = replace(
            context.dataset, test=fat_relu.halves(fat_relu.holdout(context))[1]
        )
        held_out = replace(context, dataset=dataset)
        record = train.estimate(held_out, network, [self.accelerator])
        (machine,) = record["machines"].values()
        return machine["total"]["cycles"]["total"]


def measured(context: Context, network: Network) -> float:
    """The task's best metric on the hold-out.

    Args:
      context: data and task.
      network: the network.
    """
    found = context.evaluate(network, fat_relu.holdout(context), count=False)
    return quality_of(context.task)(found.metrics)


def on_few_images(context: Context, images: int) -> Context:
    """The context with a part of the first half of the hold-out only.

    Args:
      context: data and task.
      images: largest number of images.
    """
    held_out = first_of(fat_relu.halves(fat_relu.holdout(context))[0], images)
    return replace(context, dataset=replace(context.dataset, holdout=held_out))


def first_of(split: Split, images: int) -> Split:
    """The first images of a split.

    >>> from dst_jax import data
    >>> len(first_of(data.load("digits").train, 100))
    100
    """
    return replace(split, indices=split.indices[:images])


def plan(
    counts: Mapping[float, KeptWeights],
    *,
    context: Context,
    epochs: float,
    lr: float,
    temperature: float,
    threshold: Threshold | None,
    budget: float,
    accelerator: str | None,
) -> list[Stage]:
    """The stages: the given network, the pruned ones, each with thresholds, the choice.

    Args:
      counts: weights that each layer keeps, by sparsity.
      context: data and task.
      epochs: epochs of distillation.
      lr: peak learning rate.
      temperature: temperature of the teacher.
      threshold: search of thresholds; None for none.
      budget: what may be lost, in points.
      accelerator: accelerator whose cycles count; None for multiplications.
    """
    given = replace(stages.initial(train.sgd(lr)), name=GIVEN_STAGE, title=GIVEN)
    found = [given]
    still = replace(given, start=GIVEN_STAGE)
    if threshold is not None:
        title = "thresholds"
        found.append(replace(still, name=title, title=title, on_entry=threshold))
    for sparsity, own in counts.items():
        name = f"weights_{100 * sparsity:g}".replace(".", "_")
        title = f"{100 * sparsity:g} % of weights pruned"
        found.append(
            stages.post_training(
                counts=own,
                epochs=epochs,
                name=name,
                title=title,
                lr=lr,
                temperature=temperature,
                prunable=context.prunable,
                start=GIVEN_STAGE,
            )
        )
        if threshold is not None:
            both = replace(still, name=f"{name}_thresholds", start=name)
            title = f"{title}, thresholds"
            found.append(replace(both, title=title, on_entry=threshold))
    choose = Choose(tuple(stage.name for stage in found), budget, accelerator)
    return [*found, replace(still, name=CHOSEN, title=CHOSEN, on_entry=choose)]


def described(choose: Choose, candidates: Sequence[Candidate]) -> dict[str, Any]:
    """The choice as post_training.json has it.

    >>> dense = Candidate("given", 0.9, 0.0, 8.0)
    >>> described(Choose(("given",), 0.5), [dense])["chosen"]
    'given'
    """
    return {
        "chosen": choose.best(candidates).stage,
        "cost": choose.accelerator or "multiplications",
        "candidates": [vars(candidate) for candidate in candidates],
    }
