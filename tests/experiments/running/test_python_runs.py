"""A run that was started from Python is opened again like one of a command."""

import json
import shutil

import pytest

from dst_jax import data, models, report, train
from dst_jax.runs import Run
from experiments import accelerators, export, mnist_lenet5
from experiments.running import launch, training
from experiments.running.config_record import options_of, refuse_another


def _optimizer(*, mask, **_):
    return train.chain(0.1, mask=mask)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    context = train.Context(
        model=models.create("mlp", num_classes=10, hidden=(8, 4)),
        dataset=data.load("digits", image_size=8, holdout=0.2),
        run=Run(tmp_path_factory.mktemp("python")),
        batch_size=100,
        eval_batch_size=100,
        seed=3,
        console=train.Console(quiet=True),
    )
    stages = [train.stages.pretrain(epochs=0, optimizer=_optimizer)]
    train.train(context, stages, config={"note": "by hand"})
    return context.run


@pytest.mark.slow
def test_its_options_follow_from_its_record(run):
    options = options_of(run)
    assert options.model.name == "mlp"
    assert options.model.create(num_classes=10).hidden == (8, 4)
    assert (options.data.name, options.data.image_size) == ("digits", 8)
    assert len(options.data.load().holdout) == round(0.2 * 1198)
    assert (options.data.batch_size, options.run.seed) == (100, 3)


def test_its_segmentation_counts_the_same_pixels(run, tmp_path):
    task = train.tasks.segmentation(4, ignore=3, class_weights=(1, 1, 1, 0))
    record = run.read_config() | {"task": train.tasks.record(task)}
    Run(tmp_path).write_config(record)
    options = options_of(Run(tmp_path))
    found = options.task.create(options)
    assert (found.num_classes, found.ignore) == (4, 3)


@pytest.mark.slow
def test_it_is_estimated_exported_and_reported(run, tmp_path, capsys):
    assert accelerators.main([str(run.path), "--names", "dense"]) == 0
    assert run.read_accelerators("pretrain")["machines"].keys() == {"dense"}
    assert "untrained start" in capsys.readouterr().out
    assert export.main([str(run.path), "--out", str(tmp_path)]) == 0
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["params_sha256"] == run.read_summary()["params_sha256"]


@pytest.mark.parametrize(
    ("entry", "value", "what"),
    [
        ("model", {"name": "mine:Net", "options": {}}, "the model mine:Net of the run"),
        ("task", {"name": "depth"}, "the task 'depth' of the run"),
        ("data", None, "has no entry 'data'"),
    ],
)
def test_what_its_record_cannot_say_is_named(run, tmp_path, entry, value, what):
    record = run.read_config() | {entry: value}
    if value is None:
        del record[entry]
    Run(tmp_path).write_config(record)
    with pytest.raises(ValueError, match=rf"config\.json.*{what}"):
        options_of(Run(tmp_path))


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config": 3}'])
def test_a_torn_record_is_named(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        refuse_another(launch.Config(), Run(tmp_path))


def test_a_command_names_the_process_that_uses_its_directory(tmp_path, capsys):
    argv = ["--model.name", "mlp", "--data.name", "digits", "--run.dir", str(tmp_path)]
    with Run(tmp_path).lock():
        found = launch.main("mnist", mnist_lenet5.PRESETS, doc="", argv=argv)
    assert found != 0
    assert f"error: {tmp_path} is in use by process" in capsys.readouterr().err


def test_a_finished_run_on_a_full_disk_prints_its_tables(
    run, tmp_path, capsys, monkeypatch
):
    def full(path):
        raise OSError(30, "Read-only file system", str(path))

    copy = shutil.copytree(run.path, tmp_path / "run")
    monkeypatch.setattr(report, "write", full)
    training._write_report(Run(copy), train.Console())
    assert "the report cannot be written: [Errno 30]" in capsys.readouterr().out
