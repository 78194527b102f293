"""The stage that removes channels: in steps, with a teacher, killed and resumed."""

import importlib
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dst_jax import channels, models, penalties, pruning, report, train
from dst_jax.models.smaller import Smaller, groups_of, smaller_network
from dst_jax.train import Objective, Stage, Term, stages
from dst_jax.train.carried_state import Spanning, carried
from dst_jax.train.distillation import DISTILLATION, TEACHER, Distilled, student_of
from dst_jax.train.interrupt import Interrupt
from dst_jax.train.stage import check_order
from dst_jax.train.unit_choice import UnitChoice
from dst_jax.train.unit_scores import unit_score, unit_scores
from dst_jax.trees import named_leaves

HIDDEN = (12, 8)


@pytest.fixture(scope="module")
def mlp():
    return models.create("mlp", num_classes=10, hidden=HIDDEN)


@pytest.fixture(scope="module")
def context(make_setup, mlp, tmp_path_factory):
    return make_setup(tmp_path_factory.mktemp("run"), model=mlp)


@pytest.fixture(scope="module")
def network(context):
    return context.fresh_weights()


def _removal(optimizer, **options):
    given = {"ratio": 0.5, "score": "taylor"}
    names = UnitChoice.__dataclass_fields__
    given |= {k: options.pop(k) for k in list(options) if k in names}
    defaults = {"epochs": 2, "steps": 2, "batches": 1, "start": None}
    return stages.remove_channels(
        choice=UnitChoice(**given), optimizer=optimizer, **(defaults | options)
    )


def _pipeline(optimizer):
    penalty = Term(penalties.l1, 1e-4, layers=("relu1",), layer_weights=(2.0,))
    return [
        stages.pretrain(epochs=1, optimizer=optimizer),
        *_removal(optimizer, distillation=stages.Distillation(strength=1.0)),
        *stages.sparsify_activations(
            epochs=1, optimizer=optimizer, penalty=penalty, start="remove_channels"
        ),
    ]


@pytest.fixture(scope="module")
def whole_run(make_setup, mlp, optimizer, tmp_path_factory):
    """The run, and what was trained and its optimizer state around every stage."""
    states = []

    def fit(state, batches, **options):
        states.append(jax.tree.map(np.array, (state.params, state.opt_state)))
        state = real(state, batches, **options)
        states.append(jax.tree.map(np.array, (state.params, state.opt_state)))
        return state

    real = train.loop.fit
    context = make_setup(tmp_path_factory.mktemp("whole"), model=mlp, save_every=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dst_jax.train.stage_run.fit", fit)
        summary = train.train(context, _pipeline(optimizer), config={})
    return context, summary, states


@pytest.fixture(scope="module")
def finished(whole_run):
    return whole_run[:2]


def test_the_network_is_smaller_from_then_on(finished):
    context, _ = finished
    shapes = {}
    for name in ("remove_channels", "sparsify_activations"):
        record = context.run.read_stage(name)
        (plan,) = record["network"]["plans"]
        kept = sum(map(len, plan["kept"].values()))
        assert kept == sum(HIDDEN) // 2
        shapes[name] = record["network"]["shapes"]
        loaded = train.load_weights(
            context.run.checkpoints / directories(context)[name],
            sharding=context.sharding,
        )
        assert {
            f"params/{k}": list(x.shape) for k, x in named_leaves(loaded.params).items()
        } == shapes[name]
        again = context.with_model(loaded)
        assert isinstance(again.model, Smaller)
        found = context.evaluate(again, context.dataset.test, count=True)
        assert found.metrics["top1"] == record["top1"]
        assert set(found.zeros) == {"relu1", "relu2"}
    assert shapes["remove_channels"] == shapes["sparsify_activations"]
    assert record["drift"] is None
    assert TEACHER not in loaded.variables
    assert DISTILLATION not in loaded.params


def directories(context):
    phases = context.run.read_config()["checkpoints"]
    return {name: paths[-1] for name, paths in phases.items()}


def test_the_record_names_the_whole_network(finished):
    record = finished[0].run.read_config()
    assert record["model"]["name"].endswith("mlp:MLP")
    assert record["model"]["shapes"]["params/fc1/kernel"] == [784, HIDDEN[0]]
    found = report.load(finished[0].run.path)
    counts = found.stages[1].channels
    assert {name: c.whole for name, c in counts.items()} == {"fc1": 12, "fc2": 8}
    assert found.stages[0].channels == {}
    tables = {table.title: table for table in report.tables.in_terminal(found)}
    assert tables["Networks made smaller"].rows[0][1] == "10 of 20"
    assert "those of what is left" in next(iter(tables.values())).note


def test_the_loss_of_distillation_is_logged_and_falls_away(finished):
    lines = [m for m in finished[0].run.read_metrics() if m["kind"] == "train"]
    for line in lines:
        distilled = line["stage"] == "remove_channels"
        assert ("distillation_loss" in line) == distilled
        if distilled:
            both = line["cross_entropy"] + line["distillation_loss"]
            assert line["loss"] == pytest.approx(both, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("stop", [16, 27])
def test_resumed_it_ends_bit_identical(
    make_setup, mlp, optimizer, finished, tmp_path, monkeypatch, stop
):
    whole, expected = finished
    context = make_setup(tmp_path, model=mlp, save_every=3, compiled=whole.compiled)
    asked = itertools.count(1)
    monkeypatch.setattr(Interrupt, "requested", lambda *_: next(asked) == stop)
    try:
        train.train(context, _pipeline(optimizer), config={})
    except train.Interrupted:
        assert stop not in (8, 16)  # there a phase has ended by itself
    summary = train.train(context, _pipeline(optimizer), config={})
    assert summary["params_sha256"] == expected["params_sha256"]


def test_a_finished_run_scores_nothing_again(
    make_setup, optimizer, finished, monkeypatch
):
    context, expected = finished
    module = importlib.import_module("dst_jax.train.stages.remove_channels")
    monkeypatch.setattr(module, "unit_scores", None)
    summary = train.train(context, _pipeline(optimizer), config={})
    assert summary["params_sha256"] == expected["params_sha256"]


@pytest.mark.slow
def test_momentum_goes_on_at_what_is_kept(whole_run):
    context, _, states = whole_run
    end, begin = states[3:5]
    plans = [
        channels.Plan.from_json(train.saved_network.plans_in(path)[0])
        for path in (
            context.run.checkpoints / f"remove_channels.step{n}" / "8" for n in (1, 2)
        )
    ]
    left = plans[0].groups.after(plans[0].keep)
    keep = plans[1].since(plans[0])
    rows = {
        f"params/{DISTILLATION}/relu{n}/matrix": (
            (left[f"fc{n}"].size, HIDDEN[n - 1]),
            0,
            [(f"fc{n}", unit) for unit in range(left[f"fc{n}"].size)],
        )
        for n in (1, 2)
    }
    expected = channels.remove(end, left.extended(rows), keep)
    jax.tree.map(np.testing.assert_array_equal, begin, expected)
    assert np.abs(named_leaves(begin[1])["1/0/trace/fc1/kernel"]).max() > 0
    assert begin[0]["fc1"]["kernel"].shape != end[0]["fc1"]["kernel"].shape
    matrices = begin[0][DISTILLATION]
    assert matrices["relu1"]["matrix"].shape == (keep["fc1"].sum(), HIDDEN[0])


def test_an_optimizer_without_shapes_is_carried(network, context):
    groups = groups_of(network, context.example)
    keep = {"fc1": np.arange(12) < 5}
    state = {"count": jnp.int32(3)}
    after = smaller_network(network, groups, keep)
    assert carried(state, network, after) == state
    assert carried(state, network, network) is state


def test_steps_have_one_schedule():
    seen = []

    def optimizer(*, steps, kernels=None, **_):
        seen.append(steps)
        return train.chain(0.1, kernels=kernels)

    for phase in _removal(optimizer, epochs=3, steps=2):
        assert isinstance(phase.optimizer, Spanning)
        phase.optimizer(steps=12, steps_per_epoch=8, mask=None, seed=0)
    assert seen == [24, 24]


def test_only_a_phase_continues(optimizer):
    one, two = _removal(optimizer)
    check_order([one, two])
    with pytest.raises(ValueError, match="continues is for a phase that follows"):
        check_order([two])


@pytest.mark.slow
def test_a_mask_becomes_smaller_with_its_weights(
    make_setup, mlp, optimizer, network, tmp_path
):
    context = make_setup(tmp_path, model=mlp)
    prune = partial(pruning.masks.magnitude, sparsity=0.5)
    pruned = stages.choose_mask(prune)(network, context=context)
    removal = _removal(optimizer, epochs=0.25, steps=1, score="umm")
    train.train(context, removal, config={}, init=pruned)
    path = context.run.checkpoints / "remove_channels"
    found = context.with_model(train.load_weights(path, sharding=context.sharding))
    for leaf, mask in named_leaves(found.mask).items():
        weights = named_leaves(found.params)[leaf]
        assert weights.shape == mask.shape
        assert not np.any(np.asarray(weights)[~np.asarray(mask)])
        assert not np.all(mask)
    again = stages.choose_mask(partial(prune, sparsity=0.8))(found, context=context)
    assert pruning.masks.sparsity(again.mask) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("scope", ["global", "group"])
def test_steps_end_where_one_step_does(network, context, scope):
    choice = UnitChoice(ratio=0.4, scope=scope, floor=0.25)
    scores = {"fc1": np.arange(12.0), "fc2": np.arange(8.0)}

    def after(done, current, scores):
        groups = groups_of(current, context.example)
        keep = choice.keep(current, groups, scores, example=context.example, done=done)
        return smaller_network(current, groups, keep), keep

    once, _ = after(1.0, network, scores)
    current = network
    for done in (1 / 3, 2 / 3, 1.0):
        current, keep = after(done, current, scores)
        scores = {name: own[keep[name]] for name, own in scores.items()}
    assert current.model.plan == once.model.plan
    kept = {name: len(units) for name, units in once.model.plan.kept.items()}
    assert sum(kept.values()) == (12 if scope == "global" else (12 - 4) + (8 - 3))


@pytest.mark.parametrize("cost", ["multiplications", "parameters"])
@pytest.mark.parametrize(
    ("scope", "solver"),
    [
        *(("global", "greedy"), ("global", "exact"), ("group", "greedy")),
        ("global", "dst_jax.allocation:greedy"),
    ],
)
def test_a_budget_is_of_the_whole_network(network, context, cost, scope, solver):
    choice = UnitChoice(
        budget=0.3, cost=cost, scope=scope, solver=solver, rules=[("fc2", True)]
    )
    current = network
    for done in (0.5, 1.0):
        groups = groups_of(current, context.example)
        scores = {name: np.ones(group.size) for name, group in groups.items()}
        keep = choice.keep(current, groups, scores, example=context.example, done=done)
        current = smaller_network(current, groups, keep)
    kept = [len(units) for units in current.model.plan.kept.values()]

    def costs(one, two):
        bias = one + two + 10 if cost == "parameters" else 0
        return 784 * one + one * two + two * 10 + bias

    budget = 0.3 * costs(*HIDDEN)
    assert costs(*kept) <= budget
    assert costs(kept[0] + 1, kept[1]) > budget


def test_rules_leave_groups_whole(network, context):
    groups = groups_of(network, context.example)
    choice = UnitChoice(ratio=0.5, rules=[("fc1", False)], multiple_of=3)
    scores = {"fc2": np.arange(8.0)}
    keep = choice.keep(network, groups, scores, example=context.example)
    assert {name: own.sum() for name, own in keep.items()} == {"fc2": 6}
    with pytest.raises(ValueError, match="rule 'conv' matches none"):
        UnitChoice(ratio=0.5, rules=[("conv", False)]).open_to(groups)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "one of .* must be given, got \\[\\]"),
        ({"ratio": 1.0}, r"ratio must be in \[0, 1\)"),
        ({"budget": 0.0}, r"budget must be in \(0, 1\]"),
        ({"ratio": 0.5, "score": "taylr"}, "did you mean 'taylor'"),
        ({"ratio": 0.5, "solver": "exakt"}, "did you mean 'exact'"),
        ({"budget": 0.5, "solver": "exact"}, "solver is for scope 'global', got 'ex"),
        ({"ratio": 0.5, "cost": "bytes"}, "cost must be one of"),
        ({"ratio": 0.5, "floor": -1}, "floor must be"),
        ({"ratio": 0.5, "floor": 1.5}, r"floor must be in \[0, 1\]"),
        ({"ratio": 0.5, "multiple_of": 0}, "multiple_of must be"),
    ],
)
def test_options_out_of_range_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        UnitChoice(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"score": "bn_scale"}, "remove_channels.step1: group 'fc1' must have a leaf"),
        ({"budget": 1e-4, "ratio": None}, "step2: budget must be at least 0.08"),
        ({"rules": [("conv", True)]}, "step1: rule 'conv' matches none"),
        ({"distillation": stages.Distillation(maps=["conv"])}, "rule 'conv' matches"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    make_setup, mlp, optimizer, tmp_path, options, said
):
    context = make_setup(tmp_path, model=mlp)
    with pytest.raises(ValueError, match=said):
        train.train(context, _removal(optimizer, **options), config={})
    assert not context.run.checkpoints.exists()


def test_stages_behind_a_removal_are_checked_before_training(
    context, optimizer, network
):
    wrong = Objective(
        terms=(Term(penalties.l1, 1.0, layers=("relu9",), layer_weights=(1,)),)
    )
    late = Stage(name="late", epochs=1, optimizer=optimizer, objective=wrong)
    with pytest.raises(ValueError, match="stage late: layers of a term"):
        train.rehearse(context, [*_removal(optimizer), late], network)


@pytest.mark.slow
def test_scores_see_the_data(context, network):
    groups = groups_of(network, context.example)
    found = unit_scores(
        context, network, groups, unit_score("taylor"), path="a", batches=2
    )
    data = context.train_batches("a")
    expected = {name: np.zeros(group.size) for name, group in groups.items()}
    for _ in range(2):
        batch = next(data)

        def loss(params, batch=batch):
            x = context.preprocess(jnp.asarray(batch["image"]))
            outputs = network.model({"params": params}, x)[0]
            return context.task.loss(outputs, jnp.asarray(batch["label"]))

        gradients = jax.grad(loss)(network.params)
        own = channels.scores.taylor(network.params, groups, gradients=gradients)
        expected = {name: expected[name] + own[name] / 2 for name in own}
    data.close()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("features", ["linear", "kept"])
def test_maps_follow_the_teacher(network, context, features):
    groups = groups_of(network, context.example)
    first = {"fc1": np.arange(12) % 3 > 0, "fc2": np.ones(8, bool)}
    second = {"fc1": np.arange(8) % 2 > 0, "fc2": np.arange(8) > 2}
    teacher = smaller_network(network, groups, {"fc1": np.arange(12) > 0})
    groups = groups_of(teacher, context.example)
    first["fc1"] = first["fc1"][1:]
    student = smaller_network(teacher, groups, first)
    both = Distilled.network(student, teacher, learned=features == "linear", more=True)
    size = int(first["fc1"].sum())
    second["fc1"] = np.arange(size) % 2 > 0
    both = both.model.shrunk(both.variables, both.mask, second)
    x = jax.random.normal(jax.random.key(0), (5, 28, 28, 1))
    outputs, maps, _ = both.model(both.variables, x, train=True)
    small = student_of(both)
    assert (
        small.model.plan
        == smaller_network(
            student, groups_of(student, context.example), second
        ).model.plan
    )
    alone, own, _ = small.model(small.variables, x)
    taught = teacher.model(teacher.variables, x)[1]
    at = {
        "relu1": np.flatnonzero(first["fc1"])[second["fc1"]],
        "relu2": np.flatnonzero(second["fc2"]),
    }
    parts = []
    for name, places in at.items():
        whole = np.asarray(taught[name])
        if features == "linear":
            matrix = np.eye(whole.shape[1])[places]
            parts.append(np.square(own[name] @ matrix - whole).mean(1))
        else:
            parts.append(np.square(own[name] - whole[:, places]).mean(1))
    np.testing.assert_allclose(maps[DISTILLATION], sum(parts) / 2, rtol=1e-5)
    np.testing.assert_array_equal(outputs, alone)
    assert both.model(both.variables, x)[1].keys() == own.keys()


def test_a_run_starts_from_a_smaller_network(finished, context, optimizer):
    loaded = train.load_weights(finished[0].run.path, sharding=context.sharding)
    start = context.with_model(loaded)
    context.check_weights(start)
    (stage,) = _removal(optimizer, ratio=0.75, score="l2", steps=1)
    record = train.descriptions.plan([stage], context.task, start)["model"]
    assert record["name"].endswith("mlp:MLP")
    assert record["shapes"]["params/fc1/kernel"] == [784, HIDDEN[0]]
    after = stage.on_entry(start, context=context)
    kept, before = after.model.plan.kept, start.model.plan.kept
    assert sum(map(len, kept.values())) == sum(HIDDEN) // 4
    assert all(set(units) <= set(before[name]) for name, units in kept.items())
    assert not isinstance(after.model.whole, Smaller)
