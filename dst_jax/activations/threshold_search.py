"""The search for thresholds within a budget of accuracy, on the host."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

__all__ = ["FoundThresholds", "search_thresholds"]


class FoundThresholds(NamedTuple):
    """The result of the search."""

    thresholds: dict[str, float]
    metric: float
    """Measured with these thresholds."""
    start: float
    """Measured with all thresholds 0."""


def search_thresholds(
    evaluate: Callable[[dict[str, float]], float],
    layers: Sequence[str],
    *,
    budget: float,
    per_layer: bool = False,
    upper: float | Mapping[str, float] = 1.0,
    precision: float = 1e-3,
) -> FoundThresholds:
    """Raises the thresholds of the layers, one by one, as far as the metric allows.

    For each layer, a bisection of [0, upper] finds the largest threshold at which the
    metric has lost at most the budget. That threshold stays while later layers are
    searched. The bisection assumes that the metric falls as the threshold rises. Where
    it does not, the result still keeps the budget, because it has been measured.

    Args:
      evaluate: function from `{layer: threshold}`, with all layers, to a metric that is
        better when larger, such as accuracy on a hold-out. It is called about
        `log2(upper / precision) + 1` times per layer, and at least once.
      layers: names in the order of the search; earlier layers get larger thresholds.
      budget: loss of the metric that is allowed, >= 0, in the metric's own unit.
      per_layer: Whether each layer may lose `budget` from where its search began, as in
        the authors' code; otherwise the budget is for all layers together.
      upper: largest threshold tried, > 0, for all layers or by name, for instance the
        99th percentile of the layer's maps.
      precision: width at which the bisection stops, > 0; `upper` itself is tried at
        any width.

    Returns:
      The thresholds, and the metric with and without them.

    Raises:
      ValueError: an option is out of range, `layers` names one twice, `upper` does not
        name all layers, or the metric is NaN.

    Reference:
      Kurtz et al. 2020 (PMLR 119:5533-5543), in the form of neuralmagic/sparseml's
      one-shot booster. That code returns the last threshold tried, this function the
      last one that kept the budget.

    >>> accuracy = lambda t: 1 - t["relu1"] ** 2 - t["relu2"]
    >>> found = search_thresholds(accuracy, ["relu1", "relu2"], budget=0.01)
    >>> {name: round(t, 2) for name, t in found.thresholds.items()}
    {'relu1': 0.1, 'relu2': 0.0}
    """
    tops = dict(upper) if isinstance(upper, Mapping) else dict.fromkeys(layers, upper)
    _check(layers, budget, tops, precision)
    thresholds = dict.fromkeys(layers, 0.0)
    start = metric = _measured(evaluate, thresholds)
    for layer in layers:
        floor = (metric if per_layer else start) - budget
        low, high, trial = 0.0, float(tops[layer]), float(tops[layer])
        while high - low > precision or trial == tops[layer] > low:
            found = _measured(evaluate, thresholds | {layer: trial})
            if found >= floor:
                low, metric = trial, found
            else:
                high = trial
            trial = (low + high) / 2
        thresholds[layer] = low
    return FoundThresholds(thresholds, metric, start)


def _measured(
    evaluate: Callable[[dict[str, float]], float], thresholds: Mapping[str, float]
) -> float:
    metric = float(evaluate(dict(thresholds)))
    if math.isnan(metric):
        raise ValueError(
            f"the metric is NaN at the thresholds {dict(thresholds)}: a network that "
            "is not finite has none"
        )
    return metric


def _check(
    layers: Sequence[str], budget: float, tops: Mapping[str, float], precision: float
) -> None:
    if len(set(layers)) != len(layers):
        raise ValueError(f"layers must be different names, got {list(layers)}")
    if not budget >= 0:
        raise ValueError(f"budget must be >= 0, got {budget}")
    if not precision > 0:
        raise ValueError(f"precision must be > 0, got {precision}")
    missing = [name for name in layers if name not in tops]
    if missing:
        raise ValueError(f"upper has no value for {missing}")
    if not all(0 < tops[name] < float("inf") for name in layers):
        raise ValueError(f"upper must be finite and > 0, got {dict(tops)}")
