"""FATReLU thresholds of a network within a budget of hold-out accuracy."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import jax.numpy as jnp

from dst_jax import activations
from dst_jax.activations import FoundThresholds
from dst_jax.data import Split
from dst_jax.train import Context, Weights

__all__ = ["Kind", "holdout", "put_on", "search"]

Kind = Literal["hard", "soft"]


def search(
    context: Context,
    weights: Weights,
    *,
    budget: float,
    kind: Kind = "hard",
    bisections: int = 6,
    percentile: float = 99.0,
) -> FoundThresholds:
    """The thresholds within the budget, chosen on the hold-out alone.

    The search is over shares of each layer's largest threshold, so that layers of
    different scale take equally many evaluations.

    Args:
      context: data and model.
      weights: the network.
      budget: points of hold-out accuracy that may be lost, over all layers.
      kind: FATReLU, or the ReLU shifted by the threshold.
      bisections: evaluations of the hold-out per layer.
      percentile: of a layer's entries on one batch: the largest threshold tried.

    Raises:
      ValueError: there is no hold-out.

    Reference: Kurtz et al. 2020 (PMLR 119:5533-5543).
    """
    split = holdout(context)
    tops = _largest(context, weights, split, percentile / 100)

    def scaled(shares: Mapping[str, float]) -> dict[str, float]:
        return {name: share * tops[name] for name, share in shares.items()}

    def accuracy(shares: Mapping[str, float]) -> float:
        changed = put_on(weights, scaled(shares), kind=kind)
        return 100 * context.evaluate(changed, split, count=False).top1

    found = activations.search_thresholds(
        accuracy, list(tops), budget=budget, precision=2.0**-bisections
    )
    return found._replace(thresholds=scaled(found.thresholds))


def put_on(
    weights: Weights, thresholds: Mapping[str, float], *, kind: Kind = "hard"
) -> Weights:
    """The network with these thresholds at its taps."""
    state = activations.with_thresholds(weights.model_state, thresholds, kind=kind)
    return weights._replace(model_state=state)


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


def _largest(
    context: Context, weights: Weights, split: Split, share: float
) -> OrderedDict[str, float]:
    """For every map that has an entry above 0 in this batch, that quantile of it."""
    images = [
        split.example(i)[0] for i in range(min(context.eval_batch_size, len(split)))
    ]
    variables = {"params": weights.params, **weights.model_state}
    x = context.preprocess(jnp.stack(images))
    _, maps, _ = activations.apply_with_activations(context.model, variables, x)
    tops = activations.percentile_thresholds(maps, share)
    return OrderedDict((name, float(t)) for name, t in tops.items() if t > 0)
