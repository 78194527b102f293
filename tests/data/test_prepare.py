import importlib.util

import numpy as np
import pytest
import tensorflow_datasets as tfds

from dst_jax import data
from dst_jax.data import prepare as module
from dst_jax.data.__main__ import main

ARCHIVES = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar")


@pytest.fixture
def no_tensorflow(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def test_digits_need_no_preparation(capsys):
    assert main(["prepare", "digits"]) == 0
    assert "needs no preparation" in capsys.readouterr().out


def test_canvases_need_the_sets_they_are_drawn_from(sets, capsys, no_tensorflow):
    assert main(["prepare", "digits_canvas"]) == 0
    assert "needs no preparation" in capsys.readouterr().out
    sets.mnist()
    assert main(["prepare", "mnist_canvas"]) == 0
    assert capsys.readouterr().out == f"mnist_canvas is ready in {sets.root}\n"
    assert main(["prepare", "mnist_photographs"]) == 2
    assert "pip install 'dst_jax[prepare]'" in capsys.readouterr().err
    sets.imagenette()
    assert main(["prepare", "mnist_photographs"]) == 0


def test_an_unknown_name_lists_the_known(capsys):
    assert main(["prepare", "mnits"]) == 2
    error = capsys.readouterr().err
    assert "'mnits'" in error
    assert all(name in error for name in data.names())


def test_without_tensorflow_the_extra_is_named(tmp_path, capsys, no_tensorflow):
    assert main(["prepare", "mnist", "--data-dir", str(tmp_path)]) == 2
    assert "pip install 'dst_jax[prepare]'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [(), ARCHIVES[:1], ARCHIVES])
def test_archives_are_checked_first(tmp_path, capsys, no_tensorflow, there):
    manual = tmp_path / "manual"
    manual.mkdir()
    for name in there:
        (manual / name).touch()
    arguments = ["--data-dir", str(tmp_path), "--manual-dir", str(manual)]
    assert main(["prepare", "imagenet2012", *arguments]) == 2
    error = capsys.readouterr().err
    for name in ARCHIVES:
        assert (name in error) == (name not in there)
    assert (str(manual) in error) == (there != ARCHIVES)
    assert ("TensorFlow" in error) == (there == ARCHIVES)


def test_a_prepared_set_is_left_alone(sets, capsys, no_tensorflow):
    folder = sets.mnist()
    assert main(["prepare", "mnist"]) == 0
    assert capsys.readouterr().out == f"mnist is ready in {folder}\n"


def test_a_set_in_another_format_is_an_error(sets, capsys):
    folder = sets.mnist()
    sets.write_info(folder, "mnist", {"train": [], "test": []}, "tfrecord")
    assert main(["prepare", "mnist"]) == 2
    assert "prepared as tfrecord" in capsys.readouterr().err


def test_tfds_prepares_in_array_record_format(sets, monkeypatch, capsys):
    """The builder here reads no archive, which is what TFDS needs TensorFlow for."""

    class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("3.0.1")
        name = "mnist"
        pkg_dir_path = sets.root

        def _info(self):
            image = tfds.features.Image(shape=(28, 28, 1))
            label = tfds.features.ClassLabel(num_classes=10)
            features = tfds.features.FeaturesDict({"image": image, "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._examples(20), "test": self._examples(4)}

        def _examples(self, n):
            for i in range(n):
                image = sets.encode(np.full((28, 28, 1), i, np.uint8))
                yield i, {"image": image, "label": i % 10}

        _generate_examples = _examples

    monkeypatch.setattr(module, "_check_tensorflow", lambda: None)
    monkeypatch.setattr(
        tfds, "builder", lambda name, data_dir: Mnist(data_dir=data_dir)
    )
    assert main(["prepare", "mnist"]) == 0
    assert str(sets.root / "mnist" / "3.0.1") in capsys.readouterr().out
    split = data.load("mnist", holdout=0.0).train
    pixels = [int(split.example(i).image[0, 0, 0]) for i in range(20)]
    assert sorted(pixels) == list(range(20))


def test_the_command_line_asks_for_a_command_and_a_name(capsys):
    for arguments in ([], ["prepare"], ["erase", "mnist"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "usage: python -m dst_jax.data" in capsys.readouterr().err
