"""Options of layers: masks, losses, predictions, costs, and a choice of them."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import allocation, data, models, pruning
from dst_jax.activations import patterns_of, with_patterns, with_thresholds
from dst_jax.cost import accelerators
from dst_jax.runs import Run
from dst_jax.train import Console, Context, per_layer
from dst_jax.train.per_layer import OptionCosts, OptionLosses, Reading
from dst_jax.train.stages import Thresholding
from dst_jax.typing import Network

WEIGHTS, LEVELS = ("0.5", "2:4", "channel_out=0.5"), ("0.5", "0.75", "2:4", "8:16")


@pytest.fixture(scope="module")
def context():
    return Context(
        model=models.create("mlp", num_classes=10, hidden=(8,)),
        dataset=data.load("digits"),
        run=Run("nowhere"),
        batch_size=64,
        eval_batch_size=64,
        console=Console(quiet=True),
    )


@pytest.fixture(scope="module")
def examples(context):
    return per_layer.calibration(context, context.dataset.train, examples=100)


@pytest.fixture(scope="module")
def options(context, examples):
    network = context.fresh_weights()
    return per_layer.layer_options(
        context, network, examples, weights=WEIGHTS, maps=LEVELS
    )


@pytest.fixture(scope="module")
def found(context, options):
    return per_layer.reading(context, options)


@pytest.fixture(scope="module")
def images(context):
    return np.stack([context.dataset.train.example(i)[0] for i in range(4)])


def _maps(context, network, examples):
    return network.model(network.variables, examples.images[0])[1]


def test_a_choice_has_its_masks_and_thresholds(context, options, examples):
    assert examples.images.shape == (1, 64, 16, 16, 1)
    network = options.network_at({"fc2/kernel": 1, "fc1/kernel": 3}, {})
    first, second = (network.params[k]["kernel"] for k in ("fc1", "fc2"))
    assert (np.asarray(second) != 0).mean() == 0.5
    assert (np.asarray(first) != 0).any(0).sum() == 4
    before = _maps(context, options.network_at({}, {}), examples)
    after = _maps(context, options.network_at({}, {"relu1": 2}), examples)
    kept = (after["relu1"] > 0).sum() / (before["relu1"] > 0).sum()
    assert kept == pytest.approx(0.25, abs=0.01)


def test_a_mask_stays_within_the_networks_own(context, examples):
    network = context.fresh_weights()
    kernels = context.kernels_of(network)
    mask = pruning.masks.magnitude(network.params, 0.9, kernels=kernels)
    options = per_layer.layer_options(
        context, network._replace(mask=mask), examples, weights=("0.5",), maps=()
    )
    found = options.network_at({"fc1/kernel": 1}, {})
    assert options.maps.thresholds == {}
    assert not (found.mask["fc1"]["kernel"] & ~mask["fc1"]["kernel"]).any()
    assert pruning.masks.sparsity(options.network_at({}, {}).mask) == (
        pruning.masks.sparsity(mask)
    )


def test_a_threshold_that_is_there_is_the_least(context, examples):
    network = context.fresh_weights()
    high = with_thresholds(network.variables, {"relu1": 1e3})
    options = per_layer.layer_options(
        context, network._replace(variables=high), examples, weights=(), maps=("0.5",)
    )
    assert "relu1" not in options.maps.thresholds  # nothing is left of the map
    low = with_thresholds(network.variables, {"relu1": 0.01})
    options = per_layer.layer_options(
        context, network._replace(variables=low), examples, weights=(), maps=("0.5",)
    )
    assert options.maps.thresholds["relu1"][0] == np.float32(0.01)
    soft = with_thresholds(network.variables, {"relu1": 0.01}, kind="soft")
    with pytest.raises(ValueError, match="soft thresholds already"):
        per_layer.layer_options(context, network._replace(variables=soft), examples)


def test_a_layer_reads_the_map_before_it(found):
    assert found.operations == {"fc1/kernel": ("fc1",), "fc2/kernel": ("fc2",)}
    assert found.maps == {"fc1/kernel": (), "fc2/kernel": ("relu1",)}


def test_losses_are_those_of_the_networks(context, options, examples):
    losses = per_layer.option_losses(context, options, examples)

    def loss(network):
        outputs = network.model(network.variables, examples.images[0])[0]
        return float(context.task.loss(outputs, examples.labels[0]))

    start = loss(options.network_at({}, {}))
    one = loss(options.network_at({"fc2/kernel": 2}, {}))
    assert losses.weights["fc2/kernel"][2] == pytest.approx(one - start, abs=1e-6)
    other = loss(options.network_at({}, {"relu1": 1}))
    assert losses.maps["relu1"][1] == pytest.approx(other - start, abs=1e-6)
    assert all(x[0] == 0 for x in (*losses.weights.values(), *losses.maps.values()))
    # From another choice, which loses nothing against itself.
    choice = {"weights": {"fc1/kernel": 1}, "levels": {"relu1": 1}}
    losses = per_layer.option_losses(context, options, examples, **choice)
    start = loss(options.network_at(*choice.values()))
    one = loss(options.network_at({"fc1/kernel": 1, "fc2/kernel": 2}, {"relu1": 1}))
    assert losses.weights["fc2/kernel"][2] == pytest.approx(one - start, abs=1e-6)
    assert losses.weights["fc1/kernel"][1] == losses.maps["relu1"][1] == 0
    assert losses.maps["relu1"][0] != 0


def test_losses_are_predicted_by_derivatives(context, options, examples):
    predicted = per_layer.predicted_losses(context, options, examples)
    step = 1e-2
    whole = options.network_at({}, {})
    layer = _nearby(whole, options.network_at({"fc2/kernel": 1}, {}), step)
    slopes = (_each_loss(layer(1), examples) - _each_loss(layer(-1), examples)) / 2
    slopes /= step
    value = slopes.mean() + 0.5 * (slopes**2).mean()
    assert predicted.weights["fc2/kernel"][1] == pytest.approx(value, rel=1e-2)
    # The map is read by a linear layer: its gradient is that of the outputs.
    x, w = _maps(context, whole, examples)["relu1"], whole.params["fc2"]["kernel"]
    small = np.where(x < options.maps.thresholds["relu1"][1], x, 0)
    logits = np.asarray(whole.model(whole.variables, examples.images[0])[0], float)
    likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = likely - np.eye(10)[examples.labels[0]]
    slopes = (error * -(small @ np.asarray(w))).sum(1)
    value = slopes.mean() + 0.5 * (slopes**2).mean()
    assert predicted.maps["relu1"][1] == pytest.approx(value, rel=1e-3)
    assert predicted.maps["relu1"][0] == predicted.weights["fc1/kernel"][0] == 0


def test_a_pattern_is_a_level_of_a_map(context, options, found, examples):
    """8 channels: 2:4 fits, 8:16 does not."""
    network = options.network_at({}, {"relu1": 3})
    x = np.asarray(_maps(context, network, examples)["relu1"])
    whole = np.asarray(_maps(context, options.network_at({}, {}), examples)["relu1"])
    groups = np.sort(whole.reshape(len(x), 2, 4), axis=-1)[..., 2:]
    assert ((x != 0).reshape(len(x), 2, 4).sum(-1) <= 2).all()
    assert x.sum() == pytest.approx(groups.sum(), rel=1e-5)
    losses = per_layer.option_losses(context, options, examples)
    assert losses.maps["relu1"][3] > 0
    assert losses.maps["relu1"][4] == np.inf
    predicted = per_layer.predicted_losses(context, options, examples)
    assert predicted.maps["relu1"][4] == np.inf
    # The change of the map, read by the linear last layer.
    w = np.asarray(network.params["fc2"]["kernel"])
    start = options.network_at({}, {})
    logits = np.asarray(start.model(start.variables, examples.images[0])[0], float)
    likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = likely - np.eye(10)[examples.labels[0]]
    slopes = (error * ((x - whole) @ w)).sum(1)
    value = slopes.mean() + 0.5 * (slopes**2).mean()
    assert predicted.maps["relu1"][3] == pytest.approx(value, rel=1e-3)
    # Nothing that a map does not have can be chosen.
    costs = OptionCosts(
        {
            "fc1/kernel": np.ones((1, 4)),
            "fc2/kernel": np.where(np.arange(5)[:, None] == 4, np.inf, np.ones((5, 4))),
        },
        {},
        0.0,
    )
    made = per_layer.layer_choices(found, losses, costs)
    assert set(made.items[1].levels) == {0, 1, 2, 3}


def test_a_pattern_that_is_there_stays(context, examples):
    network = context.fresh_weights()
    both = with_patterns(network.variables, {"relu1": "4:8"})
    options = per_layer.layer_options(
        context, network._replace(variables=both), examples, weights=(), maps=LEVELS
    )
    assert not options.maps.has("relu1", 3)
    found = options.network_at({}, {"relu1": 1})
    assert patterns_of(found.variables) == {"relu1": "4:8"}


def test_a_map_is_penalised_as_its_nonzeros_cost(context, options, found, images):
    machine = accelerators.create("scnn")
    costs = per_layer.option_costs(
        context, options, found, images, machine, measure="multiplications"
    )
    # One map, read by one layer: the mean over its entries is 1, whatever they cost.
    assert per_layer.map_strengths(options.maps, found, costs) == {"relu1": 1.0}
    bare = replace(options.maps, shares=(0.0,))
    with pytest.raises(ValueError, match=r"need thresholds among the options of maps"):
        per_layer.map_strengths(bare, found, costs)
    nothing = Reading(found.operations, dict.fromkeys(found.maps, ()))
    with pytest.raises(ValueError, match="a map whose zeros save something"):
        per_layer.map_strengths(options.maps, nothing, costs)


def _nearby(start, end, step):
    """Networks at a step from one towards another."""
    return lambda sign: start.with_params(
        jax.tree.map(lambda a, b: a + sign * step * (b - a), start.params, end.params)
    )


def _each_loss(network, examples):
    outputs = network.model(network.variables, examples.images[0])[0]
    logits = np.asarray(outputs, float)
    rows = np.arange(len(logits))
    return np.log(np.exp(logits).sum(1)) - logits[rows, examples.labels[0]]


@pytest.mark.slow
@pytest.mark.parametrize("measure", per_layer.MEASURES)
def test_costs_add_up_to_the_networks(context, options, found, images, measure):
    machine = accelerators.create("scnn")
    costs = per_layer.option_costs(
        context, options, found, images, machine, measure=measure
    )

    def total(weights, levels):
        network = options.network_at(weights, levels)
        return per_layer.total_cost(context, network, images, machine, measure=measure)

    whole = sum(table[0, 0] for table in costs.layers.values()) + costs.fixed
    assert whole == pytest.approx(total({}, {}), rel=1e-5)
    # What the last layer has and reads changes no other layer.
    last = costs.layers["fc2/kernel"]
    assert (last.shape, costs.layers["fc1/kernel"].shape) == ((5, 4), (1, 4))
    assert np.isinf(last[4]).all()
    assert last[0, 0] - last[3, 0] == pytest.approx(
        total({}, {}) - total({}, {"relu1": 3}), rel=1e-4
    )
    saved = total({}, {}) - total({}, {"relu1": 2})
    assert last[0, 0] - last[2, 0] == pytest.approx(saved, rel=1e-4)
    assert (costs.multiplications["fc2/kernel"], costs.fixed) == (80, 0)
    if measure == "multiplications":
        saved = total({}, {}) - total({"fc2/kernel": 2}, {"relu1": 2})
        assert last[0, 0] - last[2, 2] == saved > 0


def test_dropout_hurts_where_a_layer_matters(context, options, examples):
    sizes = {name: float(w.size) for name, w in options.layers.items()}
    found = per_layer.dropout_losses(context, options, examples, sizes, trials=3)
    again = per_layer.dropout_losses(context, options, examples, sizes, trials=3)
    assert found == again
    assert found["fc2/kernel"] != 0


def test_layers_that_share_a_map_are_one_item():
    found = Reading({}, {"a": ("x",), "b": ("y",), "c": ("x",), "d": (), "e": ("y",)})
    weights = {k: np.array([0.0, 0.25 if k in "ac" else 1.0]) for k in "abcde"}
    maps = {"x": np.array([0.0, 0.5]), "y": np.array([0.0, np.inf])}
    table = np.array([[4.0, 2.0], [3.0, 1.0]])
    costs = {k: table[:1] if k == "d" else table for k in "abcde"}
    made = per_layer.layer_choices(
        found, OptionLosses(weights, maps), OptionCosts(costs, {}, 7.0)
    )
    assert [(item.layers, item.maps) for item in made.items] == [
        (("a", "c"), ("x",)),
        (("b", "e"), ("y",)),
        (("d",), ()),
    ]
    # Of y, only its share 0 has a finite loss.
    assert set(made.items[1].levels) == {0}
    choice = allocation.exact(made.loss, made.cost, budget=2 + 8 + 4)
    weights, levels = made.options_of(choice)
    assert made.predicted(choice) == (1.0, 2 + 8 + 4 + 7)
    assert (weights, levels) == (
        {"a": 1, "b": 0, "c": 1, "d": 0, "e": 0},
        {"x": 1, "y": 0},
    )


def test_items_join_where_a_layer_reads_two_maps():
    found = Reading({}, {"a": ("x",), "b": ("y",), "c": ("x", "y")})
    losses = OptionLosses(
        {k: np.zeros(1) for k in "abc"}, {k: np.zeros(1) for k in "xy"}
    )
    costs = OptionCosts({k: np.ones((1, 1)) for k in "abc"}, {}, 0.0)
    (item,) = per_layer.layer_choices(found, losses, costs).items
    assert (item.layers, item.maps) == (("a", "b", "c"), ("x", "y"))
    assert item.cost.tolist() == [3.0]


@pytest.mark.parametrize(("rule", "share"), [("erk", 0.8), ("threshold", 0.995)])
def test_rivals_meet_the_budget(context, options, images, rule, share):
    machine, measure = accelerators.create("scnn"), "multiplications"
    rival = partial(per_layer.rival, context, options, images, machine, rule=rule)
    whole = per_layer.total_cost(
        context, options.network, images, machine, measure=measure
    )
    network = rival(budget=share * whole, measure=measure)
    cost = per_layer.total_cost(context, network, images, machine, measure=measure)
    assert (1.5 * share - 0.5) * whole < cost <= share * whole
    with pytest.raises(ValueError, match="budget must be at least"):
        rival(budget=-1.0, measure=measure)


@pytest.mark.parametrize("text", ["1.5", "0", "nan", "channel_out=2", "half", "=0.5"])
def test_bad_weight_options_are_named(text):
    with pytest.raises(ValueError, match=r"a weight option must be a density"):
        per_layer.weight_option(text)


@pytest.mark.parametrize("text", ["2:4=0.25", "2:4=1"])
def test_n_of_m_has_no_other_density(text):
    with pytest.raises(ValueError, match=r"2:4 keeps 0\.5 of the weights and takes no"):
        per_layer.weight_option(text)


@pytest.mark.parametrize("structure", ["channel_out", "4x1", "constant_fan_in"])
def test_an_option_that_keeps_no_weight_is_none(structure):
    weights = jnp.ones((8, 6))
    assert per_layer.weight_option(f"{structure}=0.01").mask(weights) is None
    kept = per_layer.weight_option(f"{structure}=0.5").mask(weights)
    assert kept.sum() == 24


def test_bad_options_are_named(context, examples, options):
    with pytest.raises(ValueError, match="got the test set"):
        per_layer.calibration(context, context.dataset.test)
    network = context.fresh_weights()
    for text in ("1", "nan", "half"):
        with pytest.raises(
            ValueError, match=rf"a share in \[0, 1\) or N:M, got '{text}'"
        ):
            per_layer.layer_options(context, network, examples, maps=(text,))
    with pytest.raises(ValueError, match=r"map relu1 has no option 8:16"):
        options.network_at({}, {"relu1": 4})
    assert per_layer.weight_option("2:4").mask(jnp.ones((3, 4))) is None
    masks = {**options.masks, "fc1/kernel": (None,) * 4}
    with pytest.raises(ValueError, match=r"layer fc1/kernel has no option 2:4"):
        replace(options, masks=masks).mask({"fc1/kernel": 2})


def test_a_stage_takes_a_threshold_for_each_map(context):
    network = context.fresh_weights()
    found = Thresholding({"relu1": 0.5})(network, context=context)
    assert list(found.variables["thresholds"]) == ["relu1"]
    with pytest.raises(ValueError, match="map of a threshold must be one of"):
        Thresholding({"relu9": 0.5})(network, context=context)
    assert isinstance(found, Network)
