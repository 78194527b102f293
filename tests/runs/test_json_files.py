import json
import math
import os

import pytest

from dst_jax import runs
from dst_jax.runs import Run, Unreadable


def _strict(text):
    """JSON as other programs read it."""

    def refused(constant):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refused)


def test_numbers_that_are_not_finite_come_back_from_valid_json(tmp_path):
    run = Run(tmp_path)
    record = {"loss": math.nan, "layers": [{"t": math.inf}, (-math.inf, 1.5)]}
    run.write_stage("dense", record)
    run.log(record)
    _strict((tmp_path / "stages/dense.json").read_text())
    _strict((tmp_path / "metrics.jsonl").read_text())
    for found in (run.read_stage("dense"), run.read_metrics()[0]):
        assert math.isnan(found["loss"])
        assert found["layers"] == [{"t": math.inf}, [-math.inf, 1.5]]


def test_the_bare_nan_of_earlier_runs_is_read(tmp_path):
    (tmp_path / "summary.json").write_text('{"stages": [], "loss": NaN}')
    assert math.isnan(Run(tmp_path).read_summary()["loss"])


READ = {
    "config.json": Run.read_config,
    "summary.json": Run.read_summary,
    "stages/dense.json": lambda run: run.read_stage("dense"),
    "accelerators/dense.json": lambda run: run.read_accelerators("dense"),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b'{"seed": ', "is not JSON"),
        (b"[1]", "must hold an object"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_a_torn_file_is_named(tmp_path, name, content, why):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=why) as caught:
        READ[name](Run(tmp_path))
    assert str(path) in str(caught.value)


def test_a_summary_without_stages_does_not_finish_a_run(tmp_path):
    (tmp_path / "summary.json").write_text("{}")
    assert Run(tmp_path).read_summary() is None


@pytest.mark.parametrize("bad", ["1", "[2]", '{"step": 2, "lo', "\x00\x00"])
def test_a_line_that_is_no_record_is_named_unless_a_kill_cut_it(tmp_path, bad):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + bad + '\n{"step": 3}\n')
    with pytest.raises(Unreadable, match=r"metrics\.jsonl, line 2,"):
        Run(tmp_path).read_metrics()
    path.write_text('{"step": 1}\n' + bad)
    if bad in ("1", "[2]"):  # nothing was cut
        with pytest.raises(Unreadable, match="line 2,"):
            Run(tmp_path).read_metrics()
    else:
        assert Run(tmp_path).read_metrics() == [{"step": 1}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a": 1}\n{"a": 2', [{"a": 1}, {"a": 3}]),
        ('{"a": 1}\n{"a": 2}', [{"a": 1}, {"a": 2}, {"a": 3}]),
        ("", [{"a": 3}]),
    ],
)
def test_a_line_takes_the_place_of_one_that_was_cut(tmp_path, before, after):
    path = tmp_path / "cells.jsonl"
    path.write_text(before)
    runs.append_line(path, {"a": 3})
    assert runs.read_lines(path) == after
    assert len(path.read_text().splitlines()) == len(after)


def test_a_file_and_its_directory_reach_the_disk_before_the_rename_counts(
    tmp_path, monkeypatch
):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    Run(tmp_path).write_stage("dense", {"top1": 0.5})
    file, folder = tmp_path / "stages/dense.json", tmp_path / "stages"
    assert synced == [path.stat().st_ino for path in (file, folder, tmp_path)]


def test_a_full_disk_is_named_and_leaves_the_file_before(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.write_config({"seed": 1})

    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*config\.json"):
        run.write_config({"seed": 2})
    assert run.read_config() == {"seed": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
