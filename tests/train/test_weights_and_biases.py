import sys
import types

import pytest

from dst_jax import data, models, train
from dst_jax.runs import Run
from experiments import mnist_lenet5
from experiments.options import RunOptions
from experiments.running.launch import main


class Service:
    """A module in the place of `wandb` that keeps what it is told."""

    def __init__(self):
        self.started, self.logged, self.metrics, self.ended = [], [], [], 0

    def init(self, **options):
        self.started.append(options)
        return types.SimpleNamespace(
            id=options["id"] or "abc123",
            log=self.logged.append,
            define_metric=lambda name, **how: self.metrics.append((name, how)),
            finish=self.finish,
        )

    def finish(self):
        self.ended += 1


@pytest.fixture
def wandb(monkeypatch):
    service = Service()
    monkeypatch.setitem(sys.modules, "wandb", service)
    return service


@pytest.fixture
def without_wandb(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # an import raises ImportError


def train_one_epoch(directory, events):
    context = train.Context(
        model=models.create("mlp", num_classes=10, hidden=(8,)),
        dataset=data.load("digits"),
        run=Run(directory),
        batch_size=512,
        eval_batch_size=599,
        console=train.Console(quiet=True),
        log_every=1,
        events=events,
    )
    stage = train.stages.pretrain(
        epochs=1, optimizer=lambda *, mask, **_: train.chain(0.1, mask=mask)
    )
    train.train(context, [stage], config={})
    return context.run.read_metrics()


@pytest.mark.slow
def test_a_run_logs_the_same_numbers_there(wandb, tmp_path):
    options = RunOptions(wandb="sparse")
    events = options.events(Run(tmp_path / "a"), {"model": {"name": "mlp"}})
    lines = train_one_epoch(tmp_path / "a", events)
    (started,) = wandb.started
    assert (started["project"], started["name"]) == ("sparse", "a")
    assert started["dir"] == str(tmp_path / "a")
    assert started["config"] == {"model": {"name": "mlp"}}
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    logged = [x for x in wandb.logged if "pretrain/train/loss" in x]
    assert [x["pretrain/train/loss"] for x in logged] == losses
    assert [x["pretrain/train/step"] for x in logged] == [1, 2]
    over = {"step_metric": "pretrain/train/step"}
    assert ("pretrain/train/*", over) in wandb.metrics
    assert wandb.ended == 1


def test_a_run_that_goes_on_is_the_same_one_there(wandb, tmp_path):
    for _ in range(2):
        train.WeightsAndBiases(str(tmp_path), project="sparse").close()
    first, second = wandb.started
    assert (first["id"], first["resume"]) == (None, None)
    assert (second["id"], second["resume"]) == ("abc123", "allow")


def test_text_is_not_logged(wandb, tmp_path):
    log = train.WeightsAndBiases(str(tmp_path), project="sparse")
    log.scalars("a/train", {"loss": 0.5, "note": "no number"}, step=8)
    assert wandb.logged == [{"a/train/loss": 0.5, "a/train/step": 8}]


def test_other_processes_log_nothing(wandb, tmp_path):
    run = Run(tmp_path, writer=False)
    assert RunOptions(wandb="sparse").events(run, {}) == ()
    assert wandb.started == []


@pytest.mark.slow
def test_nothing_is_imported_without_the_option(without_wandb, tmp_path):
    events = RunOptions().events(Run(tmp_path), {})
    assert events == ()
    assert train_one_epoch(tmp_path, events)


def test_a_missing_package_is_named_before_anything_is_done(
    without_wandb, tmp_path, capsys
):
    directory = tmp_path / "run"
    argv = ["--preset", "demo", "--run.dir", str(directory), "--run.wandb", "sparse"]
    assert main("mnist_lenet5", mnist_lenet5.PRESETS, doc="", argv=argv) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --run.wandb: Weights & Biases needs the package")
    assert "pip install 'dst_jax[wandb]'" in said
    assert not directory.exists()
