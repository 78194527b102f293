"""Gates that are trained in rounds, and the networks that their collapse leaves."""

import itertools
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import activations, cost, penalties, report, train, trees
from dst_jax.models.smaller import Smaller, groups_of, smaller_network
from dst_jax.parametrisations import GATES, State
from dst_jax.report.figures import widths_over_rounds
from dst_jax.train import stages
from dst_jax.train.gate_terms import GateCost, Ramp
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.stages.relaxation import Collapse, without
from dst_jax.train.state import init_network
from dst_jax.typing import Network

WIDTHS = {"stem": 6, "up": 4, "mid": 5}


class Net(nn.Module):
    """A stem and a residual branch with two hidden layers."""

    @nn.compact
    def __call__(self, x, *, train=False):
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.5)
        x = nn.avg_pool(x, (7, 7), (7, 7)).reshape(len(x), -1)
        x = nn.relu(norm(name="bn")(nn.Dense(WIDTHS["stem"], name="stem")(x)))
        y = nn.relu(norm(name="bn1")(nn.Dense(WIDTHS["up"], name="up")(x)))
        y = activations.Tap(name="relu1")(y)
        y = nn.relu(norm(name="bn2")(nn.Dense(WIDTHS["mid"], name="mid")(y)))
        x = x + norm(name="bn3")(nn.Dense(WIDTHS["stem"], name="down")(y))
        x = activations.Tap(name="relu")(nn.relu(x))
        return nn.Dense(10, name="fc")(x)


EXAMPLE = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)


@pytest.fixture(scope="module")
def network():
    """With random statistics, as after training."""
    made = init_network(Net(), jnp.zeros((1, 28, 28, 1)), jax.random.key(0))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        if path.startswith("params") and path.endswith("kernel"):
            return leaf
        x = rng.normal(size=leaf.shape)
        return jnp.asarray(abs(x) + 0.5 if path.endswith("var") else x, jnp.float32)

    return made._replace(variables=trees.map_named(draw, dict(made.variables)))


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(1).random((3, 28, 28, 1)), jnp.float32)


def _outputs(network, x):
    return network.model(dict(network.variables), x, train=False, rngs=None)[0]


def _multiplications(network, x):
    def forward(variables, x):
        return network.model(variables, x, train=False, rngs=None)[0]

    counted = cost.count(forward)(dict(network.variables), x)
    return int(cost.total(counted).dense)


def _given(gates, network, values):
    """A trained tree with these gates."""
    trained = gates.init(network.params)
    for name, own in values.items():
        trained["gates"][name] = jnp.asarray(own, jnp.float32)
    return trained


def _cost(term):
    assert isinstance(term.penalty, GateCost)
    return term.penalty


# A gate far below 0 is exactly 0 in float32.
OFF = {"stem": [1, -60, 1, -60, 1, 1], "up": [1, 1, -60, 1], "mid": [1, -60, 1, 1, 1]}


def _kept(values):
    return {name: np.array(own) > 0 for name, own in values.items()}


@pytest.mark.slow
def test_the_cost_at_zero_and_one_is_the_count(network, images):
    training = stages.GateTraining(sharpness=20.0)
    gates, (left, _) = training.for_network(network, EXAMPLE)
    found = _cost(left)
    whole, x = _multiplications(network, images[:1]), images[:1]
    ones = found.share(
        _given(gates, network, {n: 50 * np.ones(s) for n, s in WIDTHS.items()})
    )
    np.testing.assert_allclose(ones, 1, rtol=1e-6)
    far = {name: 50 * np.array(own) for name, own in OFF.items()}
    groups = groups_of(network, EXAMPLE)
    small = smaller_network(network, groups, _kept(OFF))
    share = _multiplications(small, x) / whole
    np.testing.assert_allclose(
        found.share(_given(gates, network, far)), share, rtol=1e-6
    )
    assert found.exact(_kept(OFF)) == share
    # On the smaller network the cost is still of the whole one.
    again, (left, _) = training.for_network(small, EXAMPLE)
    ones = {n: 50 * np.ones(k.sum()) for n, k in _kept(OFF).items()}
    np.testing.assert_allclose(
        _cost(left).share(_given(again, small, ones)), share, rtol=1e-6
    )
    assert left.penalty(_given(again, small, ones), target=share) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("push", ["fence_sitters", "dais", "penalty", "hard_concrete"])
def test_terms_have_the_slopes_of_finite_differences(network, push):
    training = stages.GateTraining(push=push, strength=2.0, target=0.25, ramp=(0, 4))
    gates, terms = training.for_network(network, EXAMPLE)
    rng = np.random.default_rng(0)
    trained = _given(
        gates, network, {n: rng.uniform(-0.5, 0.8, size) for n, size in WIDTHS.items()}
    )

    @jax.jit
    def loss(s):
        tree = {"weights": trained["weights"], "gates": s}
        return sum(term(tree, step=2) for term in terms)

    slopes = jax.grad(loss)(trained["gates"])
    for name, unit in (("stem", 1), ("up", 2), ("mid", 0)):
        up, down = (
            loss({**trained["gates"], name: trained["gates"][name].at[unit].add(d)})
            for d in (1e-2, -1e-2)
        )
        np.testing.assert_allclose(
            slopes[name][unit], (up - down) / 2e-2, rtol=2e-2, atol=2e-4
        )
    assert {term.name for term in terms} - {"ejector"} == {"multiplications_left"}


def test_the_ramp_and_what_dais_makes_stiffer(network):
    assert [float(Ramp(-1, 0)(step)) for step in (0, 5)] == [1, 1]
    assert [float(Ramp(2, 2)(step)) for step in (1, 2)] == [0, 1]
    training = stages.GateTraining(push="dais", ramp=(1, 3), stiffest=30.0)
    gates, terms = training.for_network(network, EXAMPLE, steps_per_epoch=2)
    assert len(terms) == 1
    trained = _given(gates, network, {"up": [-0.5, 0, 0.25, 1]})
    for step, slope in ((0, 5), (2, 5), (4, 5 + 25 / 8), (6, 30), (9, 30)):
        found = gates.gated.gates(trained, State(step=step))["up"]
        expected = jax.nn.sigmoid(slope * trained["gates"]["up"])
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    (left,) = terms
    assert left(trained, step=0) != left(trained, step=6)


@pytest.mark.slow
def test_random_gates_are_drawn_at_every_step_and_their_medians_are_kept(network):
    training = stages.GateTraining(push="hard_concrete")
    gates, (left,) = training.for_network(network, EXAMPLE, seed=3)
    trained = _given(gates, network, {"up": [3.0, 0.0, -1.0, -6.0]})
    drawn = [
        np.asarray(gates(trained, State(step=step))["bn1"]["scale"])
        for step in (0, 0, 1)
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()
    values = gates.gated.gates(trained)["up"]
    np.testing.assert_allclose(values[:2], [1, 0.5], atol=0.05)
    assert values[3] == 0
    scale = network.params["bn1"]["scale"]
    np.testing.assert_allclose(
        gates.finish(trained, State(step=5))["bn1"]["scale"], scale * values
    )
    assert float(_cost(left).share(trained)) > 0
    assert gates.gated.gates(trained)["stem"].max() == 1  # it is needed


def test_one_compilation_serves_all_strengths(network):
    traces = []

    @jax.jit
    def slopes(trained, terms):
        traces.append(1)
        return jax.grad(lambda t: sum(term(t) for term in terms))(trained)["gates"]

    for strength in (0.1, 0.3):
        training = stages.GateTraining(strength=strength, ejector=2 * strength)
        gates, terms = training.for_network(network, EXAMPLE)
        found = slopes(gates.init(network.params), terms)
    assert len(traces) == 1
    assert np.isfinite(found["up"]).all()


def test_a_penalty_on_gates_is_their_mean(network):
    training = stages.GateTraining(push="penalty", penalty=penalties.l1, ejector=0.5)
    gates, (_, push) = training.for_network(network, EXAMPLE)
    trained = _given(gates, network, OFF)
    values = np.concatenate([*map(np.ravel, gates.gated.gates(trained).values())])
    np.testing.assert_allclose(push(trained), 0.5 * values.mean(), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("emptied", ["up", "mid"])
def test_what_collapses_is_the_network_with_those_gates_at_zero(
    network, images, emptied
):
    values = OFF | {emptied: [-60.0] * WIDTHS[emptied]}
    gates, _ = stages.GateTraining(sharpness=20.0).for_network(network, EXAMPLE)
    trained = _given(gates, network, values)
    off = network.with_params(gates.finish(trained, ()))
    groups = groups_of(network, EXAMPLE)
    keep = {n: np.asarray(g) > 0.1 for n, g in gates.gated.gates(trained).items()}
    assert all(np.array_equal(keep[name], kept) for name, kept in _kept(values).items())
    small, kept = without(off, groups, keep, example=EXAMPLE)
    np.testing.assert_allclose(
        _outputs(small, images), _outputs(off, images), rtol=1e-5, atol=1e-5
    )
    # The branch goes as a whole: its block is the shortcut.
    assert not kept["up"].any()
    assert not kept["mid"].any()
    assert _multiplications(small, images[:1]) == 4 * (16 + 10)


@pytest.mark.slow
def test_a_network_without_its_branch_is_evaluated(network, finished):
    context, _ = finished
    keep = {
        name: np.arange(size) < 4 * (name == "stem") for name, size in WIDTHS.items()
    }
    small, _ = without(network, groups_of(network, EXAMPLE), keep, example=EXAMPLE)
    found = context.evaluate(small, context.dataset.test, count=True)
    assert found.elements == {"relu": 4 * found.examples}
    dense = cost.total(found.counts).dense
    assert dense == 4 * (16 + 10) * found.examples


def _stages(optimizer, **options):
    gates = stages.GateTraining(strength=20.0, ejector=0.1, target=0.3)
    given: dict[str, Any] = {"thresholds": (0.6, 0.9), "start": None}
    given |= {"epochs": 1, "finetune_epochs": 1} | options
    return stages.relaxation(gates=gates, optimizer=optimizer, **given)


def _adam(*, steps, steps_per_epoch, mask, seed):
    del steps, steps_per_epoch, seed
    return train.chain(0.2, rule="adamw", mask=mask)


@pytest.fixture(scope="module")
def finished(make_setup, tmp_path_factory):
    context = make_setup(tmp_path_factory.mktemp("whole"), model=Net(), save_every=4)
    summary = train.train(context, _stages(_adam), config={})
    return context, summary


def _end(context, phase):
    path = context.run.checkpoints / f"relaxation.{phase}"
    loaded = train.load_weights(path, sharding=context.sharding)
    return context.with_model(loaded)


def test_every_round_leaves_a_checkpoint_of_its_widths(finished):
    context, _ = finished
    first, second, last = (_end(context, p) for p in ("search1", "search2", "finetune"))
    sizes = [trees.count(network.params) for network in (first, second, last)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert isinstance(last.model, Smaller)
    assert GATES not in last.variables
    for network in (first, second):
        left = groups_of(network, context.example)
        assert {n: len(x["s"]) for n, x in network.variables[GATES].items()} == {
            name: group.size for name, group in left.items()
        }
    found = report.load(context.run.path).stages[0]
    assert list(found.rounds) == ["search2", "finetune"]
    left = {name: count.kept for name, count in found.channels.items()}
    assert found.rounds["finetune"] == left
    assert widths_over_rounds.FIGURE.applies(report.load(context.run.path))
    lines = [m for m in context.run.read_metrics() if m["kind"] == "train"]
    for line in lines:
        searched = line["phase"] != "finetune"
        assert ("multiplications_left" in line) == ("ejector" in line) == searched


@pytest.mark.slow
@pytest.mark.parametrize("stop", [15])
def test_resumed_it_ends_bit_identical(
    make_setup, finished, tmp_path, monkeypatch, stop
):
    whole, expected = finished
    context = make_setup(tmp_path, model=Net(), save_every=4, compiled=whole.compiled)
    asked = itertools.count(1)
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) == stop)
    with pytest.raises(train.Interrupted):
        train.train(context, _stages(_adam), config={})
    found = train.train(context, _stages(_adam), config={})
    assert found["params_sha256"] == expected["params_sha256"]


@pytest.mark.slow
def test_a_round_is_entered_alone(make_setup, finished, tmp_path):
    """Gates that are divided out and multiplied in again differ by rounding alone."""
    whole, _ = finished
    context = make_setup(tmp_path, model=Net(), compiled=whole.compiled)
    start = _end(whole, "search1")
    train.train(context, _stages(_adam, first=2), config={}, init=start)
    for phase in ("search2", "finetune"):
        found, expected = _end(context, phase), _end(whole, phase)
        jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


def test_gates_that_are_handed_on_change_no_output(network, images):
    gates, _ = stages.GateTraining().for_network(network, EXAMPLE)
    trained = _given(gates, network, {"up": [-0.8, 0.1, 0.4, 1.0]})
    weights = gates.finish(trained, ())
    handed_on = network._replace(
        variables={
            **network.variables,
            "params": weights,
            **gates.finish_variables(trained, ()),
        }
    )
    again = gates.init(weights, variables=handed_on.model_state)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-6), again["weights"], network.params
    )
    np.testing.assert_array_equal(again["gates"]["up"], trained["gates"]["up"])
    np.testing.assert_allclose(
        _outputs(handed_on, images),
        _outputs(network.with_params(gates(trained, ())), images),
        rtol=1e-6,
    )


def test_what_cannot_be_is_named(network, make_setup, tmp_path):
    def fixed(variables, x, *, train=False, rngs=None):
        return x.reshape(len(x), -1) @ variables["params"]["w"], {}, {}

    alone = Network(fixed, {"params": {"w": jnp.ones((784, 2))}})
    with pytest.raises(ValueError, match=r"no gates are possible: .*w axis 1"):
        stages.GateTraining().for_network(alone, EXAMPLE)
    with pytest.raises(ValueError, match=r"no gates are possible: .*rules leave all"):
        stages.GateTraining(rules=[(".*", False)]).for_network(network, EXAMPLE)
    with pytest.raises(ValueError, match=r"target must be 0 or at least 0\.1"):
        stages.GateTraining(target=0.01).for_network(network, EXAMPLE)
    context = make_setup(tmp_path, model=Net())
    with pytest.raises(ValueError, match=r"relaxation\.search2 collapses gates.*none"):
        Collapse("relaxation.search2", 0.1).rehearse(network, context=context)
    for wrong, why in (
        ({"thresholds": ()}, "thresholds must have"),
        ({"thresholds": (1.5,)}, r"thresholds must be in \[0, 1\], got 1.5"),
        ({"first": 3}, r"first must be a search, in 1\.\.2, got 3"),
    ):
        with pytest.raises(ValueError, match=why):
            _stages(_adam, **wrong)
    gates, _ = stages.GateTraining().for_network(network, EXAMPLE)
    carried = {GATES: {"up": {"s": jnp.ones(3), "folded": jnp.ones(3)}}}
    with pytest.raises(ValueError, match="gates of group up must be 4, got 3"):
        gates.init(network.params, variables=carried)
