import errno
import hashlib
import json
import shutil

import jax
import jax.numpy as jnp
import optax
import orbax.checkpoint as ocp
import pytest

from dst_jax.train import integrity, manifest
from dst_jax.train.checkpoint import Checkpoints
from dst_jax.train.saved_network import CannotRestore, load_weights
from dst_jax.train.sharding import abstract_like, make_mesh, replicated
from dst_jax.train.state import enter, network_of
from dst_jax.typing import Network

POSITION = {"batches": 8, "batch_size": 4, "seed": 1}


def _state(optimizer=None, step=8, shape=(3,), dtype=jnp.float32):
    params = {"fc": {"kernel": jnp.arange(3.0, dtype=dtype).repeat(shape[0] // 3)}}
    optimizer = optax.sgd(0.1) if optimizer is None else optimizer
    state = enter(Network(print, {"params": params}), optimizer, jax.random.key(0))
    state = state.replace(step=jnp.asarray(step, jnp.int32))
    return jax.device_put(state, replicated(make_mesh()))


def _template(state):
    return abstract_like((state, network_of(state, print)), replicated(make_mesh()))


def _save(directory, *steps, metrics=None):
    with Checkpoints(directory) as checkpoints:
        for step in steps:
            state = _state(step=step)
            found = metrics and {"top1": metrics[step]}
            checkpoints.save(state, network_of(state, print), POSITION, metrics=found)
    return directory


def _restore(directory, state=None):
    with Checkpoints(directory) as checkpoints:
        return checkpoints.restore(_template(_state() if state is None else state))


def _names(directory):
    return sorted(path.name for path in directory.iterdir())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two checkpoints, at steps 4 and 8."""
    return _save(tmp_path_factory.mktemp("saved") / "dense", 4, 8)


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "dense")


def test_a_state_comes_back_with_its_place_in_the_data(saved):
    found = _restore(saved)
    assert (found.problems, found.notes) == ([], [])
    assert int(found.state.step) == 8
    assert found.state.params["fc"]["kernel"].tolist() == [0, 1, 2]
    with Checkpoints(saved) as checkpoints:
        assert checkpoints.position(8) == POSITION
    names = {path.name for path in (saved / "8" / "position").iterdir()}
    assert not any("process" in name for name in names)


def _flip(content):
    return content[:-1] + bytes([content[-1] ^ 1])


def _zero(content):
    return bytes(len(content))


@pytest.mark.parametrize("harm", [_flip, _zero])
def test_any_changed_file_is_seen(saved, tmp_path, harm):
    files = [p.relative_to(saved / "8") for p in (saved / "8").rglob("*")]
    files = [name for name in files if (saved / "8" / name).is_file()]
    assert {"manifest.json", "_CHECKPOINT_METADATA", "commit_success.txt"} <= {
        str(name) for name in files
    }
    copy = shutil.copytree(saved / "8", tmp_path / "8")
    for name in files:
        content = (copy / name).read_bytes()
        (copy / name).write_bytes(harm(content))
        assert integrity.find_fault(copy) is not None, name
        (copy / name).write_bytes(content)
    assert integrity.find_fault(copy) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("manifest.json", b"[1]"),
        ("manifest.json", b"{}"),
        ("manifest.json", b'{"version": 2, "files": {"a": 3}}'),
        ("manifest.json", b"\xff\xfe"),
        ("manifest.json", b"[" * 100_000),
        ("_CHECKPOINT_METADATA", b"[1]"),
        ("metrics/metrics", b"\x00\x00"),
        ("weights/manifest.ocdbt", None),
    ],
)
def test_damage_of_any_kind_is_passed_over(copy, name, content):
    path = copy / "8" / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
    if name == "metrics/metrics":  # these checkpoints have no metrics: as if they had
        listed = manifest.read_manifest(copy / "8")
        wrong = {name: manifest.ListedFile(2, "0" * 64)}
        (copy / "8/manifest.json").write_text(manifest._text(listed | wrong))
    found = _restore(copy)
    assert int(found.state.step) == 4
    assert len(found.problems) == 1
    assert str(copy / "8") in found.problems[0]
    assert _names(copy) == ["4", "8.damaged"]


def test_other_names_in_the_directory_do_not_matter(copy):
    for name in ("²", "12.damaged", "notes", "٣"):
        (copy / name).mkdir()
    (copy / "16").write_text("a note")
    assert int(_restore(copy).state.step) == 8


def _without_digests(checkpoint):
    """A manifest as earlier versions wrote it, before the commit."""
    sizes = {n: f.bytes for n, f in manifest.read_manifest(checkpoint).items()}
    sizes.pop("commit_success.txt")
    sizes["_CHECKPOINT_METADATA"] -= 20
    (checkpoint / "manifest.json").write_text(json.dumps(sizes))


def test_a_manifest_of_sizes_is_accepted_and_said(copy):
    _without_digests(copy / "8")
    found = _restore(copy)
    assert int(found.state.step) == 8
    assert len(found.notes) == 1
    assert f"{copy / '8'} is of an earlier version, without digests" in found.notes[0]


@pytest.mark.parametrize("kind", [Exception, KeyError, OSError, RuntimeError])
def test_what_a_reader_raises_is_refused_with_nothing_renamed(copy, monkeypatch, kind):
    def unreadable(*_, **__):
        raise kind("DATA_LOSS:\nCRC-32C checksum mismatch")

    _without_digests(copy / "8")
    monkeypatch.setattr(ocp.CheckpointManager, "restore", unreadable)
    what = rf"{copy / '8'} cannot be restored: {kind.__name__}: .*DATA_LOSS:"
    with pytest.raises(CannotRestore, match=what):
        _restore(copy)
    assert _names(copy) == ["4", "8"]


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (_state(optax.adam(0.1)), r"training: opt_state/0/count is missing there"),
        (_state(optax.sgd(0.1, momentum=0.9)), r"trace/fc/kernel is missing there"),
        (_state(shape=(6,)), r"weights: params/fc/kernel is float32\[3\] there"),
        (_state(dtype=jnp.bfloat16), r"float32\[3\] there, bfloat16\[3\] now"),
    ],
)
def test_another_structure_is_refused_by_name_with_nothing_renamed(copy, state, what):
    with pytest.raises(CannotRestore, match=what) as caught:
        _restore(copy, state)
    assert str(copy / "8") in str(caught.value)
    assert _names(copy) == ["4", "8"]


def test_a_file_that_cannot_be_read_is_an_error_of_the_disk(copy, monkeypatch):
    def unreadable(file, digest):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(hashlib, "file_digest", unreadable)
    with pytest.raises(OSError, match=rf"Input/output error: '{copy / '8'}/"):
        _restore(copy)
    assert _names(copy) == ["4", "8"]


def test_the_last_two_and_the_best_are_kept(tmp_path):
    quality = {2: 0.1, 4: 0.9, 6: 0.2, 8: 0.3, 10: 0.4}
    _save(tmp_path, *quality, metrics=quality)
    assert _names(tmp_path) == ["10", "4", "8"]
    for path in tmp_path.iterdir():
        assert integrity.find_fault(path) is None
        assert set(manifest.AT_COMMIT) <= manifest.read_manifest(path).keys()


def test_a_kill_between_a_commit_and_its_seal_loses_nothing(copy):
    own = manifest.read_manifest(copy / "8")
    early = {n: f for n, f in own.items() if n not in manifest.AT_COMMIT}
    (copy / "8/manifest.json").write_text(manifest._text(early))
    assert int(_restore(copy).state.step) == 8
    assert manifest.read_manifest(copy / "8") == own


def test_a_kill_in_the_middle_of_a_deletion_leaves_no_checkpoint(copy, monkeypatch):
    monkeypatch.setattr(shutil, "rmtree", lambda path, **_: None)
    integrity.discard(copy / "4")
    monkeypatch.undo()
    found = _restore(copy)
    assert (found.problems, _names(copy)) == ([], ["8"])


def test_a_failed_write_says_why_in_one_line(tmp_path, monkeypatch):
    why = "RESOURCE_EXHAUSTED: ...\nNo space left on device [os_error_code='28']"

    def full(*_, **__):
        raise ValueError(why)

    with Checkpoints(tmp_path) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "save", full)
        state = _state()
        with pytest.raises(OSError, match="No space left on device") as caught:
            checkpoints.save(state, network_of(state, print))
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value)


def test_a_path_that_cannot_be_read_back_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has '\[' in its path"):
        Checkpoints(tmp_path / "lr[0.1]")
    assert not list(tmp_path.iterdir())


def test_weights_of_a_damaged_checkpoint_are_those_before_and_said(copy, caplog):
    path = copy / "8" / "weights" / "_METADATA"
    path.write_bytes(_flip(path.read_bytes()))
    weights = load_weights(copy, sharding=replicated(make_mesh()))
    assert weights.params["fc"]["kernel"].tolist() == [0, 1, 2]
    assert f"{copy / '8'} has a damaged file weights/_METADATA" in caplog.text
    assert _names(copy) == ["4", "8"]
