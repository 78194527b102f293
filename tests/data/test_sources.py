import os
import socket
import subprocess
import sys
import time

import pytest

from dst_jax import data


def test_a_missing_set_says_where_it_was_looked_for_and_what_to_do(sets):
    with pytest.raises(FileNotFoundError) as error:
        data.load("cifar10")
    message = str(error.value)
    assert str(sets.root / "cifar10") in message
    assert "$TFDS_DATA_DIR" in message
    assert f"python -m dst_jax.data prepare cifar10 --data-dir {sets.root}" in message
    with pytest.raises(FileNotFoundError, match="--manual-dir"):
        data.load("imagenet2012")


def test_the_option_comes_before_the_variable(sets, tmp_path):
    other = tmp_path / "other"
    with pytest.raises(FileNotFoundError, match=str(other / "mnist")):
        data.load("mnist", data_dir=other)


def test_the_default_folder_is_that_of_tfds(monkeypatch, tmp_path):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "tensorflow_datasets")):
        data.load("mnist")


def test_a_missing_set_fails_without_network_or_waiting(sets, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("waits or goes to the network")

    monkeypatch.setattr(time, "sleep", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(FileNotFoundError):
        data.load("imagenette")


def test_the_newest_version_is_read(sets):
    sets.mnist(n_train=20, version="9.0.0")
    sets.mnist(n_train=30, version="10.0.0")
    (sets.root / "mnist" / "incomplete.ABC_11.0.0").mkdir()
    assert len(data.load("mnist", holdout=0.0).train) == 30


@pytest.mark.parametrize(
    "missing",
    [
        "dataset_info.json",
        "features.json",
        "mnist-train.array_record-00000-of-00001",
        "mnist-test.array_record-00000-of-00001",
    ],
)
def test_an_incomplete_set_is_an_error(sets, missing):
    folder = sets.mnist()
    (folder / missing).unlink()
    with pytest.raises(FileNotFoundError) as error:
        data.load("mnist")
    assert "only in part" in str(error.value)
    assert str(folder / missing) in str(error.value)
    assert "prepare mnist" in str(error.value)


def test_another_format_is_an_error(sets):
    folder = sets.mnist()
    sets.write_info(folder, "mnist", {"train": [], "test": []}, "tfrecord")
    with pytest.raises(ValueError, match=r"as tfrecord, not as array_record.*prepare"):
        data.load("mnist")


def test_a_missing_split_is_an_error(sets):
    folder = sets.mnist()
    sets.write_info(folder, "mnist", {"train": [0] * 40, "extra": []})
    with pytest.raises(ValueError, match="no split 'test', only: extra, train"):
        data.load("mnist")


def test_another_number_of_classes_is_an_error(sets):
    sets("cifar100", {"train": [], "test": []}, shape=(32, 32, 3), classes=10)
    with pytest.raises(ValueError, match="has 10 classes, not 100"):
        data.load("cifar100")


def test_reading_never_imports_tensorflow(sets):
    sets.mnist()
    sets.imagenette()
    trap = sets.root / "trap" / "tensorflow"
    trap.mkdir(parents=True)
    (trap / "__init__.py").write_text("raise RuntimeError('TensorFlow imported')")
    script = """
import sys
from dst_jax import data
for name in ("mnist", "imagenette"):
    dataset = data.load(name, image_size=28)
    next(data.train_iterator(dataset.train, batch_size=4, seed=0))
    next(data.eval_batches(dataset.test, batch_size=4))
assert "tensorflow" not in sys.modules
"""
    path = os.pathsep.join([str(trap.parent), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
