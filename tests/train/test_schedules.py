"""Variables that follow the step: one traced value a step, one program."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import models, train
from dst_jax.activations import Tap, thresholds_of
from dst_jax.parametrisations import State
from dst_jax.train import Objective, Stage, Term, make_train_step, scheduled, stages
from dst_jax.train.state import enter, init_network, network_of
from dst_jax.typing import Network

END = 0.5
STEPS = 16  # two epochs of digits


def ramp(step):
    return END * step / STEPS


class Phased(nn.Module):
    """A layer whose activation depends on a phase, as DyReLU's does."""

    @nn.compact
    def __call__(self, x, *, train=False):
        phase = self.variable("phases", "act", lambda: jnp.float32(0))
        x = nn.Dense(8, name="fc1")(x.reshape(len(x), -1))
        x = phase.value * nn.relu(x) + (1 - phase.value) * x
        return nn.Dense(10, name="fc2")(Tap(name="relu1")(x))


@pytest.fixture(scope="module")
def followed(make_setup, optimizer, tmp_path_factory):
    """A threshold that rises while the network is trained."""
    model = models.create("mlp", num_classes=10, hidden=(16, 12))
    context = make_setup(tmp_path_factory.mktemp("ramp"), model=model, save_every=4)
    stage = Stage(
        name="ramp",
        epochs=2,
        optimizer=optimizer,
        on_entry=stages.Thresholding(0.0),
        schedules={"thresholds": ramp, "thresholds/relu2/hard": lambda step: 0.25},
    )
    return context, stage, train.train(context, [stage], config={})


def test_a_threshold_follows_the_step(followed):
    context, stage, _ = followed
    folder = context.run.checkpoints / stage.path
    for step in (12, 16):
        network = train.load_weights(folder / str(step), sharding=context.sharding)
        found = thresholds_of(network.model_state)
        assert float(found["relu1"]) == pytest.approx(ramp(step))
        assert float(found["relu2"]) == pytest.approx(ramp(step))  # the first rule wins
    x = context.preprocess(
        jnp.stack([context.dataset.test.example(i)[0] for i in range(99)])
    )
    maps = context.with_model(network).model(network.variables, x)[1]
    small = np.asarray(maps["relu1"])
    assert (small[small > 0] >= END).all()


def test_it_compiles_once(followed):
    (step,) = [v for k, v in followed[0].compiled.items() if k[0] == "train"]
    assert step._cache_size() == 1


def test_a_step_sees_the_value_at_the_steps_done_before_it():
    """And the network in a state that of the next step."""
    seen = []

    def model(variables, x, *, train, rngs):
        outputs = x * variables["params"]["w"] * variables["phases"]["act"]
        return outputs, {}, {}

    class Own:
        best = ("n", "max")

        def loss(self, outputs, labels):
            return outputs.sum()

        def sums(self, outputs, labels):
            return {}

        def summary(self, sums):
            return {"n": 1.0}

    schedules = {"phases/act": lambda step: 2.0**step}
    variables = {"params": {"w": jnp.ones(1)}, "phases": {"act": jnp.float32(-1)}}
    tx = optax.sgd(0.0)
    state = enter(Network(model, variables), tx, jax.random.key(0), schedules=schedules)
    step = make_train_step(
        model, tx, preprocess=lambda x: x, task=Own(), schedules=schedules
    )
    batch = {"image": jnp.ones(1), "label": jnp.zeros(1)}
    for _ in range(3):
        state, metrics = step(state, batch, Objective())
        seen.append(float(metrics["loss"]))
        assert float(network_of(state, model).variables["phases"]["act"]) == 2.0 ** len(
            seen
        )
    assert seen == [1.0, 2.0, 4.0]
    assert step._cache_size() == 1


@pytest.mark.slow
def test_phases_of_a_module_follow_and_are_handed_on(make_setup, optimizer, tmp_path):
    context = make_setup(tmp_path, model=Phased())
    first = Stage(
        name="rising",
        epochs=1,
        optimizer=optimizer,
        schedules={"phases": optax.linear_schedule(0.0, 1.0, 8)},
    )
    then = Stage(name="constant", epochs=1, optimizer=optimizer)
    train.train(context, [first, then], config={})
    for stage in (first, then):
        path = context.run.checkpoints / stage.path
        network = train.load_weights(path, sharding=context.sharding)
        assert float(network.variables["phases"]["act"]) == 1.0


class Sharpened:
    """A parametrisation that reads a scheduled value."""

    def init(self, weights, *, seed=0):
        return weights

    def __call__(self, trained, state):
        factor = state.scheduled["sharpness"]
        return jax.tree.map(lambda w: factor * w, trained)

    def finish(self, trained, state):
        return self(trained, state)


@pytest.mark.slow
def test_a_parametrisation_reads_scheduled_values(make_setup, tmp_path):
    context = make_setup(
        tmp_path, model=models.create("mlp", num_classes=10, hidden=(8,))
    )
    sharpened = Sharpened()
    stage = Stage(
        name="sharpened",
        epochs=1,
        optimizer=lambda **_: optax.sgd(0.0),
        parametrisation=sharpened,
        schedules={"sharpness": lambda step: 1.0 + step},
    )
    start = jax.device_get(context.fresh_weights().params)
    train.train(context, [stage], config={})
    path = context.run.checkpoints / stage.path
    handed_on = train.load_weights(path, sharding=context.sharding).params
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(9 * a, b, rtol=1e-6), start, handed_on
    )
    now = State((), 2, scheduled.values(stage.schedules, 2))
    assert float(sharpened({"w": jnp.ones(())}, now)["w"]) == 3.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"schedules": {"thresholds/relu9": ramp}},
            r"stage s: schedules must be one of .*got 'thresholds/relu9'; did you mean",
        ),
        ({"schedules": {"sharpness": ramp}}, "stage s: schedules must be one of"),
        (
            {"schedules": {"phases/x": ramp}, "parametrisation": Sharpened()},
            "got 'phases/x'",
        ),
    ],
)
def test_a_schedule_that_nothing_reads_is_refused(
    make_setup, optimizer, tmp_path, options, message
):
    context = make_setup(
        tmp_path, model=models.create("mlp", num_classes=10, hidden=(8,))
    )
    stage = Stage(
        name="s",
        epochs=1,
        optimizer=optimizer,
        on_entry=stages.Thresholding(0.0),
        **options,
    )
    with pytest.raises(ValueError, match=message):
        train.train(context, [stage], config={})


def test_a_strength_follows_a_schedule_of_the_step():
    def penalty(trained, *, scale):
        return scale * trained["w"].sum()

    term = Term(penalty, 2.0, {"scale": 3.0}, over="trained", schedule=lambda t: t / 4)
    trained = {"w": jnp.ones(2)}
    assert [float(term(trained, step=t)) for t in (0, 2, 4)] == [0.0, 6.0, 12.0]


def test_a_network_is_initialised_with_the_first_value():
    network = init_network(Phased(), jnp.ones((1, 4)), jax.random.key(0))
    state = enter(
        network,
        optax.sgd(0.1),
        jax.random.key(0),
        schedules={"phases": lambda step: 0.75 - step},
    )
    assert float(state.model_state["phases"]["act"]) == 0.75


def test_no_value_is_returned_twice_in_donated_buffers():
    state = {"phases": {name: jnp.float32(1) for name in "abc"}}
    program = jax.make_jaxpr(scheduled.put_anew)(state, {"phases": jnp.float32(0.5)})
    made = {out: eqn for eqn in program.eqns for out in eqn.outvars}
    leaves = program.jaxpr.invars[:3]
    for leaf, out in zip(leaves, program.jaxpr.outvars, strict=True):
        assert leaf in made[out].invars


def test_a_network_has_the_values_of_its_step_whatever_the_state_holds():
    network = init_network(Phased(), jnp.ones((1, 4)), jax.random.key(0))
    schedules = {"phases": lambda step: 0.75 - step}
    state = enter(network, optax.sgd(0.1), jax.random.key(0), schedules=schedules)
    stale = state.replace(step=jnp.int32(2))
    found = network_of(stale, network.model, schedules=schedules)
    assert float(found.model_state["phases"]["act"]) == -1.25
