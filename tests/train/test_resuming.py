"""What a run that goes on compares with what it was: data, versions, its owner."""

import json
import shutil

import pytest

from dst_jax import data, models, train
from dst_jax.runs import InUse, Run


class Said(train.Console):
    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture(scope="module")
def make(make_setup):
    def make(directory, **options):
        mlp = models.create("mlp", num_classes=10, hidden=(8,))
        return make_setup(directory, model=mlp, **options)

    return make


@pytest.fixture(scope="module")
def stages(optimizer):
    return [train.stages.pretrain(epochs=1, optimizer=optimizer)]


@pytest.fixture(scope="module")
def begun(make, stages, tmp_path_factory):
    context = make(tmp_path_factory.mktemp("begun"))
    return context.run.path, train.train(context, stages, config={})


@pytest.fixture
def copy(begun, tmp_path):
    return shutil.copytree(begun[0], tmp_path / "run")


def _change(directory, change):
    path = directory / "config.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.slow
def test_nothing_is_said_where_nothing_has_changed(make, stages, begun, copy):
    context = make(copy)
    object.__setattr__(context, "console", Said())
    assert train.train(context, stages, config={}) == begun[1]
    assert context.console.lines == []


def test_other_versions_and_data_are_said_in_a_line_each(make, stages, copy):
    def change(record):
        record["versions"]["jax"] = "0.10.1"
        record["data"]["pixels"] = "0" * 64
        record["data"]["examples"]["train"] = 7

    _change(copy, change)
    context = make(copy)
    object.__setattr__(context, "console", Said())
    train.train(context, stages, config={})
    assert len(context.console.lines) == 3
    assert context.console.lines[0].startswith("jax was 0.10.1 when this run began")
    assert "the data set's examples was {'train': 7" in context.console.lines[1]
    assert "the data set's pixels was 000000000000... when" in context.console.lines[2]


def test_other_batches_are_refused_by_name(make, stages, copy):
    with pytest.raises(ValueError, match=r"pretrain/8 was .* batch_size 128, now 64"):
        train.train(make(copy, batch_size=64), stages, config={})
    assert (copy / "checkpoints" / "pretrain" / "8").is_dir()


def test_the_place_in_the_data_of_earlier_runs_follows_from_the_step(
    make, stages, begun, copy
):
    shutil.rmtree(copy / "checkpoints/pretrain/8/position")
    path = copy / "checkpoints/pretrain/8/manifest.json"
    listed = json.loads(path.read_text())["files"]
    old = {n: f["bytes"] for n, f in listed.items() if not n.startswith("position")}
    path.write_text(json.dumps(old))
    found = train.train(make(copy), stages, config={})
    assert found["params_sha256"] == begun[1]["params_sha256"]


def test_one_run_has_one_writer(make, stages, copy):
    with Run(copy).lock(), pytest.raises(InUse, match="in use by process"):
        train.train(make(copy), stages, config={})


@pytest.mark.parametrize("content", ["", "[]", '{"seed": '])
def test_a_torn_record_is_named(make, stages, copy, content):
    (copy / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json"):
        train.train(make(copy), stages, config={})


def test_a_data_set_is_told_from_another_state_of_it():
    digits = data.fingerprint(data.load("digits"))
    assert digits == data.fingerprint(data.load("digits"))
    assert digits != data.fingerprint(data.load("digits", holdout=0.5))
    other = data.load("digits")
    other.test.records.images[0, 0, 0, 0] ^= 1
    assert digits["pixels"] != data.fingerprint(other)["pixels"]
