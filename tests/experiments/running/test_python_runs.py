"""A run that was started from Python is opened again like one of a command."""

import dataclasses
import json
import shutil
import sys
import types
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import pytest

from dst_jax import data, models, report, train
from dst_jax.models.linen import as_model
from dst_jax.runs import Run, read_storage
from dst_jax.runs.object_names import name_of
from dst_jax.train import descriptions
from experiments import accelerators, export, mnist_lenet5
from experiments.options import DataOptions
from experiments.running import launch, training
from experiments.running.config_record import options_of, refuse_another
from experiments.running.finished_run import reopen
from experiments.running.stored_tensors import store_stages


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


def test_bits_of_tensors_are_written_for_every_stage(run, monkeypatch):
    found = {"value_bits": 8, "examples": 1, "tensors": []}
    monkeypatch.setattr(train, "storage", lambda *_, value_bits: found)
    store_stages(reopen(str(run.path)), value_bits=8)
    assert read_storage(run, "pretrain") == found


@pytest.mark.slow
def test_it_is_estimated_exported_and_reported(run, tmp_path, capsys, monkeypatch):
    # The page and its figures of such a run: tests/extending/test_own_program.py.
    monkeypatch.setattr(report, "write", lambda run_dir: run_dir)
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


class Own(nn.Module):
    """A network whose options are numbers, functions, and what is computed in."""

    num_classes: int
    width: int = 4
    rectifier: Callable = nn.relu
    dtype: Any = jnp.float32


class NoClasses(nn.Module):
    width: int = 4


@dataclasses.dataclass(frozen=True)
class OwnTask:
    high: float = 1.0
    best = ("mse", "min")

    def loss(self, outputs, labels):
        return jnp.mean((outputs - self.high) ** 2)

    def sums(self, outputs, labels):
        return {"squares": self.loss(outputs, labels)}

    def summary(self, sums):
        return {"mse": sums["squares"]}


def _options_with(run, tmp_path, **entries):
    Run(tmp_path).write_config(run.read_config() | entries)
    return options_of(Run(tmp_path))


def test_a_network_of_ones_own_is_made_again(run, tmp_path):
    found = descriptions.model(as_model(Own(10, width=8)))
    assert found["name"] == f"{__name__}:Own"
    made = _options_with(run, tmp_path, model=found).model.create(num_classes=10)
    assert made == Own(10, width=8)
    assert made.rectifier is nn.relu


@pytest.mark.parametrize(
    ("module", "what"),
    [
        (Own(10, rectifier=nn.gelu), "the option rectifier has a value that is no num"),
        (NoClasses(), "must be callable and take num_classes"),
    ],
)
def test_why_a_network_cannot_be_made_again_is_said(run, tmp_path, module, what):
    found = descriptions.model(as_model(module))
    with pytest.raises(ValueError, match=f"cannot be made from its name .*{what}"):
        _options_with(run, tmp_path, model=found)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("__main__:Net", "a class of a notebook must be in a file"),
        ("mine:Net", "start the command where mine can be imported from"),
    ],
)
def test_where_a_network_is_looked_for_is_said(run, tmp_path, name, what):
    with pytest.raises(ValueError, match=what):
        _options_with(run, tmp_path, model={"name": name, "options": {}})


def test_a_task_of_ones_own_is_made_again(run, tmp_path):
    options = _options_with(run, tmp_path, task=train.tasks.record(OwnTask(0.5)))
    assert options.task.create(options) == OwnTask(0.5)


def test_a_program_is_named_by_its_file(monkeypatch):
    main = types.SimpleNamespace(__spec__=None, __file__="/some/where/my_net.py")
    monkeypatch.setitem(sys.modules, "__main__", main)
    made = type("Net", (), {"__module__": "__main__"})
    assert name_of(made) == name_of(made()) == "my_net:Net"
    main.__file__ = "/some/where/my-net.py"
    assert name_of(made) == "__main__:Net"
    main.__spec__ = types.SimpleNamespace(name="mine.nets")
    assert name_of(made) == "mine.nets:Net"


def test_a_run_is_opened_again_with_the_statistics_that_it_has(run, tmp_path, capsys):
    record = run.read_config()
    own = record["data"] | {"mean": [0.1], "std": [0.2]}
    assert _options_with(run, tmp_path, data=own).data.load().mean == (0.1,)
    Run(tmp_path).write_summary(run.read_summary())
    assert reopen(str(tmp_path)).dataset.std == (0.2,)
    for name, value in (("num_classes", 9), ("image_shape", [8, 8, 3])):
        Run(tmp_path).write_config(record | {"data": record["data"] | {name: value}})
        with pytest.raises(ValueError, match=rf"has {name} .* the run was trained"):
            reopen(str(tmp_path))
    Run(tmp_path).write_config(record | {"data": own | {"name": "lost:images"}})
    with pytest.raises(ValueError, match=r"no module lost.* --data-name"):
        reopen(str(tmp_path))
    assert reopen(str(tmp_path), data_name="digits").dataset.name == "digits"
    assert "the data set's name was lost:images" in capsys.readouterr().out


def test_a_command_goes_on_with_the_statistics_of_its_run():
    options = DataOptions(image_size=8)
    recorded = {"mean": [0.1], "std": [0.2]}
    assert options.load(recorded=recorded).mean == (0.1,)
    given = DataOptions(image_size=8, mean=(0.3,), std=(0.4,))
    assert given.load(recorded=recorded).std == (0.4,)
    assert given.summary()["mean"] == (0.3,)
    plain = DataOptions(image_size=8, standardise=False)
    assert plain.load(recorded=recorded).mean == (0.0,)
    with pytest.raises(ValueError, match=r"--data\.mean and --data\.std: mean and std"):
        DataOptions(mean=(0.3,)).rehearse(launch.Config())


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
