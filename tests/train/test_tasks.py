"""Tasks: classification, and another one through the whole pipeline."""

import json
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dst_jax import models, penalties, train
from dst_jax.train import Objective, Stage, Term, make_train_step, tasks
from dst_jax.train.state import enter, init_network


class Regression:
    """Which digit it is, as a number: a task of four members, not in the package."""

    best = ("error", "min")

    def loss(self, outputs, labels):
        return jnp.mean((outputs[:, 0] - labels) ** 2)

    def sums(self, outputs, labels):
        close = jnp.abs(outputs[:, 0] - labels) < 0.5
        histogram = jnp.zeros(10, jnp.int32).at[labels].add(1)
        return {
            "squares": ((outputs[:, 0] - labels) ** 2).sum(),
            "close": close.sum(dtype=jnp.int32),
            "histogram": histogram,
        }

    def summary(self, sums):
        assert int(sums["histogram"].sum()) == sums["examples"]
        return {
            "error": sums["squares"] / sums["examples"],
            "close": sums["close"] / sums["examples"],
        }


@pytest.fixture(scope="module")
def regressed(make_setup, optimizer, tmp_path_factory):
    context = make_setup(
        tmp_path_factory.mktemp("regression"),
        model=models.create("mlp", num_classes=1, hidden=(16,)),
        task=Regression(),
    )
    slow = partial(_adam, 3e-3)
    terms = Objective(terms=(Term(penalties.l1, 1e-5),))
    stages = [
        Stage(name="fitted", title="all of them", epochs=4, optimizer=slow),
        Stage(name="sparse", epochs=2, optimizer=slow, objective=terms),
    ]
    return context, train.train(context, stages, config={})


def _adam(rate, **_):
    return optax.adam(rate)


def test_another_task_goes_through_the_whole_pipeline(regressed):
    context, summary = regressed
    fitted, sparse = summary["stages"]
    assert 0 < sparse["error"] < fitted["error"] < 8
    assert fitted["examples"] == 599
    assert "top1" not in fitted
    assert fitted["title"] == "all of them"
    lines = context.run.read_metrics()
    assert {"loss", "task_loss"} <= lines[0].keys()
    assert "accuracy" not in lines[0]
    evals = [line for line in lines if line["kind"] == "eval"]
    assert sparse["holdout"] == {k: evals[-1][k] for k in ("error", "close")}
    record = context.run.read_stage("sparse")
    assert record["task"] == context.run.read_config()["task"]
    assert record["task"]["best"] == ["error", "min"]
    assert record["task"]["name"] == "Regression"


def test_the_best_checkpoint_is_the_one_with_the_least_error(
    make_setup, tmp_path, regressed
):
    """It stays although the last ones are worse."""
    context = make_setup(
        tmp_path,
        model=regressed[0].model,
        task=Regression(),
    )

    def diverging(**_):
        """Good steps for two epochs, then bad ones."""
        return optax.adam(lambda t: jnp.where(t < 16, 3e-3, -3e-3))

    stage = Stage(name="fitted", epochs=5, optimizer=diverging)
    train.train(context, [stage], config={})
    evals = [m for m in context.run.read_metrics() if m["kind"] == "eval"]
    best = min(evals, key=lambda m: m["error"])
    kept = [p.name for p in (context.run.checkpoints / "fitted").iterdir()]
    assert best["step"] == 16
    assert sorted(n for n in kept if n.isdigit()) == ["16", "32", "40"]


def test_arrays_and_counts_add_up_exactly(regressed):
    context, _ = regressed
    network = context.fresh_weights()
    found = context.evaluate(network, context.dataset.test, count=False)
    labels = [context.dataset.test.example(i).label for i in range(599)]
    assert found.sums["histogram"].tolist() == np.bincount(labels).tolist()
    assert found.sums["histogram"].dtype == np.int64
    assert type(found.sums["close"]) is int
    assert found.close == found.metrics["close"] == found.sums["close"] / 599
    with pytest.raises(AttributeError, match=r"no 'top1'; its metrics are \('error'"):
        _ = found.top1


def test_classification_says_what_reports_have_always_read():
    record = tasks.record(tasks.classification())
    assert record == json.loads(json.dumps(record))
    assert record["titles"] == {"top1": "top-1", "top5": "top-5", "loss": "loss"}
    assert record["best"] == ["top1", "max"]


@pytest.mark.parametrize(("classes", "has_top5"), [(2, False), (5, False), (6, True)])
def test_the_top_5_of_five_classes_is_not_measured(classes, has_top5):
    task = tasks.classification()
    shapes = (
        jax.ShapeDtypeStruct((4, classes), "float32"),
        jax.ShapeDtypeStruct((4,), "int32"),
    )
    sums = dict.fromkeys(jax.eval_shape(task.sums, *shapes), 1)
    found = task.summary(sums)
    assert ("top5" in sums) == ("top5" in found) == has_top5
    assert ("top-5" in tasks.say(task, found)) == has_top5
    assert {"top1", "loss"} <= found.keys()


def test_a_task_that_is_a_pytree_has_its_numbers_traced():
    model = models.create("mlp", num_classes=3, hidden=(4,))
    batch = {"image": jnp.ones((4, 5, 5, 1)), "label": jnp.arange(4) % 3}
    network = init_network(model, batch["image"][:1], jax.random.key(0))
    step = make_train_step(model, optax.sgd(0.1), preprocess=lambda x: x)
    losses = set()
    for smoothing in (0.0, 0.1, 0.2):
        task = tasks.classification(label_smoothing=smoothing)
        state = enter(network, optax.sgd(0.1), jax.random.key(0))
        state = jax.tree.map(jnp.copy, state)
        losses.add(float(step(state, batch, Objective(task=task))[1]["loss"]))
    assert len(losses) == 3
    assert step._cache_size() == 1
    leaves = jax.tree.leaves(Objective(task=Regression()))
    assert leaves == []  # it is part of the program


def test_a_stage_may_have_a_task_of_its_own(make_setup, optimizer, tmp_path):
    @dataclass(frozen=True)
    class Confident(tasks.Classification):
        rate: float = 0.5

        def loss(self, outputs, labels):
            entropy = -(jax.nn.softmax(outputs) * jax.nn.log_softmax(outputs)).sum(-1)
            return super().loss(outputs, labels) - self.rate * entropy.mean()

    context = make_setup(
        tmp_path, model=models.create("mlp", num_classes=10, hidden=(8,))
    )
    objective = Objective(task=Confident())
    stage = Stage(name="own", epochs=1, optimizer=optimizer, objective=objective)
    summary = train.train(context, [stage], config={})
    assert summary["stages"][0]["top1"] > 0
    line = context.run.read_metrics()[0]
    assert line["cross_entropy"] == pytest.approx(line["loss"])


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        (Regression, TypeError, "task must have best, loss, sums and summary"),
        (
            type("T", (Regression,), {"best": ("error", "least")})(),
            ValueError,
            r"one of \('max', 'min'\), got \('error', 'least'\)",
        ),
    ],
)
def test_what_is_no_task_is_refused(make_setup, tmp_path, task, error, message):
    with pytest.raises(error, match=message):
        make_setup(tmp_path, task=task)


@pytest.mark.parametrize(
    ("member", "value", "message"),
    [
        ("best", ("top1", "max"), r"metric of its summary, \('error', 'close'\)"),
        ("sums", lambda *_: {"zeros": jnp.int32(0)}, r"not be called \['zeros'\]"),
        (
            "label_shape",
            (2,),
            r"T must have shape \(batch, 2\), got \(256,\)",
        ),
    ],
)
def test_a_task_that_contradicts_itself_is_named(
    make_setup, tmp_path, regressed, member, value, message
):
    task = type("T", (Regression,), {member: value})()
    context = make_setup(tmp_path, model=regressed[0].model, task=task)
    with pytest.raises(ValueError, match=message):
        context.evaluate(context.fresh_weights(), context.dataset.test, count=False)


def test_tasks_by_name():
    assert tasks.get("classification") == tasks.classification()
    with pytest.raises(ValueError, match="did you mean 'classification'"):
        tasks.get("clasification")
    with pytest.raises(ValueError, match=r"no option \['smoothing'\]"):
        tasks.get("classification", smoothing=0.1)
    with pytest.raises(ValueError, match="must be in"):
        tasks.get("classification", label_smoothing=1.0)
    with pytest.raises(TypeError, match="must be a task or make one"):
        tasks.get("math:pi")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A module outside the package with a task, a class of tasks and a function."""
    (tmp_path / "elsewhere.py").write_text(
        "class Counting:\n"
        "    best = ('n', 'max')\n"
        "    def __init__(self, scale=1.0): self.scale = scale\n"
        "    def loss(self, outputs, labels): return outputs.sum()\n"
        "    def sums(self, outputs, labels): return {}\n"
        "    def summary(self, sums): return {'n': self.scale * sums['examples']}\n"
        "one = Counting()\n"
        "def many(*, scale): return Counting(scale)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "options", "scale"),
    [
        ("elsewhere:one", {}, 1.0),
        ("elsewhere:Counting", {"scale": 3.0}, 3.0),
        ("elsewhere:many", {"scale": 2.0}, 2.0),
    ],
)
@pytest.mark.usefixtures("elsewhere")
def test_tasks_from_elsewhere(name, options, scale):
    assert tasks.get(name, **options).scale == scale
