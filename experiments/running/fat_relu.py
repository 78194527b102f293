"""FATReLU thresholds of a network within a budget on the hold-out."""

import itertools
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import jax.numpy as jnp

from dst_jax import activations, trees
from dst_jax.activations import FoundThresholds
from dst_jax.activations.tap import THRESHOLDS
from dst_jax.data import Split
from dst_jax.train import Context
from dst_jax.typing import Network
from experiments.running.quality import quality_of

__all__ = ["Kind", "halves", "holdout", "put_on", "search"]

Kind = Literal["hard", "soft"]


def search(
    context: Context,
    network: Network,
    *,
    budget: float,
    kind: Kind = "hard",
    bisections: int = 6,
    percentile: float = 99.0,
    split: Split | None = None,
) -> FoundThresholds:
    """The thresholds within the budget, chosen on the hold-out alone.

    The search is over shares of each layer's largest threshold, so that layers of
    different scale take equally many evaluations. A threshold that the network has
    already stays, and the larger one acts.

    Args:
      context: data and task.
      network: the network.
      budget: how much of the task's best metric may be lost on the hold-out, over all
        layers; in points where the metric is a share.
      kind: FATReLU, or the ReLU shifted by the threshold.
      bisections: evaluations of the hold-out per layer.
      percentile: percentile of a layer's entries on one batch: the largest threshold
        tried.
      split: hold-out images to choose on; all of them by default.

    Raises:
      ValueError: there is no hold-out.

    Reference: Kurtz et al. 2020 (PMLR 119:5533-5543).
    """
    split, quality = split or holdout(context), quality_of(context.task)
    tops = _largest(context, network, split, percentile / 100)

    def scaled(shares: Mapping[str, float]) -> dict[str, float]:
        return {name: share * tops[name] for name, share in shares.items()}

    evaluations = itertools.count()
    most = 1 + len(tops) * (1 + bisections)
    context.console.say(
        f"thresholds of {len(tops)} maps: at most {most} evaluations of"
        f" {len(split)} hold-out images"
    )
    with context.console.bar("evaluations", steps=most) as advance:

        def measured(shares: Mapping[str, float]) -> float:
            advance(next(evaluations), "")
            changed = put_on(network, scaled(shares), kind=kind)
            found = context.evaluate(changed, split, count=False)
            return quality.metric.scale * quality.gain(quality(found.metrics))

        found = activations.search_thresholds(
            measured, list(tops), budget=budget, precision=2.0**-bisections
        )
    return found._replace(thresholds=scaled(found.thresholds))


def put_on(
    network: Network, thresholds: Mapping[str, float], *, kind: Kind = "hard"
) -> Network:
    """The network with these thresholds at its taps, or larger ones that it has.

    Args:
      network: the network.
      thresholds: threshold of each map that has one.
      kind: FATReLU, or the ReLU shifted by the threshold.

    Raises:
      ValueError: the network has thresholds of the other kind.

    >>> changed = put_on(Network(print, {"params": {}}), {"relu1": 0.5})
    >>> changed = put_on(changed, {"relu1": 0.25, "relu2": 0.75})
    >>> {k: float(x) for k, x in activations.thresholds_of(changed.variables).items()}
    {'relu1': 0.5, 'relu2': 0.75}
    """
    earlier = trees.named_leaves(dict(network.variables.get(THRESHOLDS, {})))
    other = [name for name in earlier if not name.endswith(f"/{kind}")]
    if other:
        raise ValueError(
            f"--kind must be that of the network's own thresholds, got {kind} and"
            f" {other}"
        )
    least = activations.thresholds_of(network.variables)
    both = {
        name: jnp.maximum(least.get(name, 0.0), thresholds.get(name, 0.0))
        for name in {**least, **thresholds}
    }
    variables = activations.with_thresholds(network.variables, both, kind=kind)
    return network._replace(variables=variables)


def holdout(context: Context) -> Split:
    """The split that thresholds are chosen on.

    Raises:
      ValueError: there is none.

    >>> from dst_jax import runs, train
    >>> from experiments.options import Config, ModelOptions
    >>> config = Config(model=ModelOptions(name="mlp"))
    >>> len(holdout(config.context(runs.Run("a"), train.Console(quiet=True))))
    120
    """
    if context.dataset.holdout is None:
        raise ValueError("thresholds are chosen on a hold-out: the run has none")
    return context.dataset.holdout


def halves(split: Split) -> tuple[Split, Split]:
    """Every second image of a split, and the others.

    Raises:
      ValueError: there are fewer than two images.

    >>> from dst_jax import data
    >>> [len(half) for half in halves(data.load("digits").holdout)]
    [60, 60]
    """
    if len(split) < 2:
        raise ValueError(f"{split.name} must have at least 2 images, got {len(split)}")
    first, second = (replace(split, indices=split.indices[i::2]) for i in (0, 1))
    return first, second


def _largest(
    context: Context, network: Network, split: Split, share: float
) -> OrderedDict[str, float]:
    """For every map that has an entry above 0 in this batch, that quantile of it."""
    images = [
        split.example(i)[0] for i in range(min(context.eval_batch_size, len(split)))
    ]
    x = context.preprocess(jnp.stack(images))
    _, maps, _ = network.model(network.variables, x)
    tops = activations.percentile_thresholds(maps, share)
    return OrderedDict((name, float(t)) for name, t in tops.items() if t > 0)
