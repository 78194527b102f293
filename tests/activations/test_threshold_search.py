import math

import pytest

from dst_jax.activations import search_thresholds


class Metric:
    """An accuracy that falls with every layer's threshold, and its calls."""

    def __init__(self, **sensitivity):
        self.sensitivity, self.calls = sensitivity, []

    def __call__(self, thresholds):
        self.calls.append(thresholds)
        return 0.9 - sum(s * thresholds[k] for k, s in self.sensitivity.items())


def test_a_budget_for_all_layers_together():
    metric = Metric(a=0.1, b=0.02)
    found = search_thresholds(metric, ["a", "b"], budget=0.02)
    assert 0.2 - 1e-3 <= found.thresholds["a"] <= 0.2
    assert found.thresholds["b"] <= 1e-3 / 0.2
    assert found.start == 0.9
    assert found.metric >= found.start - 0.02
    assert found.metric == metric(found.thresholds)


def test_a_budget_for_each_layer():
    metric = Metric(a=0.1, b=0.1)
    found = search_thresholds(metric, ["b", "a"], budget=0.02, per_layer=True)
    for name in "ab":
        assert 0.2 - 2e-3 <= found.thresholds[name] <= 0.2
    assert 0.02 < found.start - found.metric < 0.041


def test_every_evaluation_names_all_layers_and_their_number_is_logarithmic():
    metric = Metric(a=0.1, b=0.1)
    search_thresholds(metric, ["a", "b"], budget=0.02, precision=1e-3)
    assert all(set(call) == {"a", "b"} for call in metric.calls)
    assert len(metric.calls) <= 1 + 2 * (math.ceil(math.log2(1e3)) + 1)


def test_a_layer_that_does_not_matter_gets_its_upper_end_at_once():
    metric = Metric(a=0.0)
    found = search_thresholds(metric, ["a"], budget=0.0, upper={"a": 0.37})
    assert found.thresholds == {"a": 0.37}
    assert len(metric.calls) == 2


def test_nothing_is_returned_that_was_not_measured_within_the_budget():
    def jagged(thresholds):
        return 0.0 if 0.3 < thresholds["a"] < 0.6 else 1.0

    found = search_thresholds(jagged, ["a"], budget=0.0, upper=0.9)
    assert jagged(found.thresholds) == found.metric == 1.0


@pytest.mark.parametrize("limit", [-1.0, 0.2])  # at once, and at the first trial
def test_a_metric_that_is_nan_is_an_error(limit):
    def metric(thresholds):
        return float("nan") if thresholds["a"] > limit else 1.0

    with pytest.raises(ValueError, match=r"metric is NaN at the thresholds \{'a': "):
        search_thresholds(metric, ["a"], budget=1.0)


def test_the_upper_end_is_measured_at_any_precision():
    found = search_thresholds(lambda t: 1.0, ["a"], budget=0.0, upper=5e-4)
    assert found.thresholds == {"a": 5e-4}
    calls = []
    found = search_thresholds(
        lambda t: calls.append(t) or -t["a"], ["a"], budget=0.0, upper=5e-4
    )
    assert (found.thresholds, len(calls)) == ({"a": 0.0}, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": -1.0}, "budget must be >= 0, got -1.0"),
        ({"layers": ["a", "a"]}, "layers must be different names"),
        ({"precision": 0.0}, "precision must be > 0, got 0.0"),
        ({"upper": {"b": 1.0}}, r"upper has no value for \['a'\]"),
        ({"upper": 0.0}, "upper must be finite and > 0"),
    ],
)
def test_bad_options_are_named(options, message):
    options = {"layers": ["a"], "budget": 0.1} | options
    layers = options.pop("layers")
    with pytest.raises(ValueError, match=message):
        search_thresholds(Metric(a=0.1), layers, **options)
