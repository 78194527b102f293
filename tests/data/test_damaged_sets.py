"""Damaged files of a data set end in an error that names it, or in a counted skip."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from dst_jax import data

TRAIN = "mnist-train.array_record-00000-of-00001"
REMEDY = r"Remove .* and run: python -m dst_jax.data prepare mnist"


def change(file, edit):
    """A damage to the bytes of a file of the set."""

    def damage(folder):
        path = folder / file
        path.write_bytes(edit(path.read_bytes()))

    return damage


def flip(position):
    def edit(content):
        content = bytearray(content)
        content[position] ^= 4
        return bytes(content)

    return edit


def zero(start, stop):
    def edit(content):
        content = bytearray(content)
        content[start:stop] = bytes(len(content[start:stop]))
        return bytes(content)

    return edit


def with_lengths(*lengths):
    """A damage to the numbers of records in dataset_info.json."""

    def edit(content):
        info = json.loads(content)
        info["splits"][0]["shardLengths"] = list(lengths)
        return json.dumps(info).encode()

    return change("dataset_info.json", edit)


def without(file, *keys):
    def edit(content):
        tree = json.loads(content)
        place = tree
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]
        return json.dumps(tree).encode()

    return change(file, edit)


def replaced(file, old, new):
    return change(file, lambda content: content.replace(old, new))


def no_file(folder):
    (folder / TRAIN).unlink()


def a_folder(folder):
    (folder / TRAIN).unlink()
    (folder / TRAIN).mkdir()


def the_test_set(folder):
    test = folder / TRAIN.replace("train", "test")
    (folder / TRAIN).write_bytes(test.read_bytes())


HOLDS = rf"data set 'mnist' in .*, split 'train': .* {TRAIN} holds -?\d+ .*" + REMEDY
UNREADABLE = r"data set 'mnist': dataset_info.json and features.json in .*" + REMEDY
EMPTY = r"data set 'mnist' in .*, split 'train': it is empty. " + REMEDY
FILES = {
    "emptied": (change(TRAIN, lambda content: b""), HOLDS),
    "cut in half": (change(TRAIN, lambda content: content[: len(content) // 2]), HOLDS),
    "cut by a byte": (change(TRAIN, lambda content: content[:-1]), HOLDS),
    "cut to a block": (change(TRAIN, lambda content: content[: 2**16]), HOLDS),
    "all zeros": (change(TRAIN, lambda content: bytes(len(content))), HOLDS),
    "zeros at the end": (change(TRAIN, zero(-(2**16), None)), HOLDS),
    "text": (change(TRAIN, lambda content: b"<html>not found</html>"), HOLDS),
    "of another split": (the_test_set, HOLDS),
    "flipped in the footer": (change(TRAIN, flip(2**16 + 2)), HOLDS),
    "missing": (no_file, "prepared only in part"),
    "a folder": (a_folder, HOLDS),
    "fewer records": (with_lengths("20"), HOLDS),
    "more records": (with_lengths("41"), HOLDS),
    "more files": (with_lengths("20", "20"), "prepared only in part"),
    "zero records": (with_lengths("0"), EMPTY),
    "no lengths": (with_lengths(), EMPTY),
    "negative length": (with_lengths("-40"), HOLDS),
    "a word as a length": (with_lengths("many"), UNREADABLE),
    "no info": (change("dataset_info.json", lambda content: b""), UNREADABLE),
    "a list as info": (change("dataset_info.json", lambda content: b"[]"), UNREADABLE),
    "info cut": (change("dataset_info.json", lambda content: content[:60]), UNREADABLE),
    "info not text": (
        change("dataset_info.json", lambda content: b"\xff\xfe"),
        UNREADABLE,
    ),
    "info of zeros": (change("dataset_info.json", lambda c: bytes(len(c))), UNREADABLE),
    "no splits": (without("dataset_info.json", "splits"), "'mnist' .*no split 'train'"),
    "no features": (change("features.json", lambda content: b""), UNREADABLE),
    "features empty": (change("features.json", lambda content: b"{}"), UNREADABLE),
    "features cut": (change("features.json", lambda content: content[:90]), UNREADABLE),
    "no label": (
        without("features.json", "featuresDict", "features", "label"),
        "'mnist' in .*: the feature 'label' must be a ClassLabel, got None",
    ),
    "no image": (
        without("features.json", "featuresDict", "features", "image"),
        "'mnist' in .*: the feature 'image' must be a Image, got None",
    ),
    "eleven classes": (
        replaced("features.json", b'"10"', b'"11"'),
        "'mnist' in .* has 11 classes, not 10",
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_an_error_that_names_the_set(sets, name):
    damage, message = FILES[name]
    damage(sets.mnist())
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        data.load("mnist", holdout=0.0)


def image(mode="L", size=(28, 28), kind="PNG"):
    file = io.BytesIO()
    Image.new(mode, size, 3).save(file, kind)
    return file.getvalue()


def flipped(encoded):
    return flip(len(encoded) // 2)(encoded)


RECORDS = {
    "no record": b"",
    "text": b"<html>not found</html>",
    "no image": {"image": b""},
    "image of text": {"image": b"<html>not found</html>"},
    "image cut": {"image": image()[:45]},
    "image flipped": {"image": flipped(image())},
    "image of another size": {"image": image(size=(32, 32))},
    "image of no height": {"image": image()[:20] + bytes(4) + image()[24:]},
    "EPS": {"image": image(kind="EPS")},
    "GIF": {"image": image(kind="GIF")},
    "TIFF": {"image": image("F", kind="TIFF")},
    "too many pixels": {"image": image(size=(101, 100))},
    "label too large": {"label": 10},
    "label of 2**40": {"label": 2**40},
    "negative label": {"label": -1},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_damaged_record_is_skipped_and_counted(sets, name):
    sets.mnist(n_train=12, damage={7: RECORDS[name]})
    dataset = data.load("mnist", holdout=0.0, max_pixels=10_000)
    assert list(dataset.train.corrupt.reasons) == ["mnist train[7]"]
    assert sum(map(len, read(dataset.train))) == 11
    batches = data.train_iterator(dataset.train, batch_size=12, seed=0)
    assert len(next(batches)["label"]) == 12


PHOTOGRAPHS = RECORDS.keys() - {"image of another size"}  # they have any size


@pytest.mark.parametrize("name", sorted(PHOTOGRAPHS))
def test_a_damaged_photograph_is_skipped_and_counted(sets, name):
    sets.imagenette(n_train=12, damage={7: RECORDS[name]})
    options = {"holdout": 0.0, "image_size": 16, "max_pixels": 10_000}
    split = data.load("imagenette", **options).train
    assert sum(map(len, read(split))) == 11
    assert list(split.corrupt.reasons) == ["imagenette train[7]"]


def read(split):
    return [batch.label for batch in data.eval_batches(split, batch_size=5)]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_an_image_of_another_mode_is_converted(sets, mode):
    sets.mnist(n_train=12, damage={7: {"image": image(mode)}})
    dataset = data.load("mnist", holdout=0.0)
    assert not dataset.train.corrupt
    assert dataset.train.example(7).image.shape == (28, 28, 1)


def test_a_damaged_block_of_a_file_costs_the_records_in_it(sets):
    change(TRAIN, zero(0, 4096))(sets.mnist())
    split = data.load("mnist", holdout=0.0).train
    assert 0 < len(split.corrupt) < 40
    assert sum(map(len, read(split))) == 40 - len(split.corrupt)


def test_a_split_without_a_readable_record_is_an_error(sets):
    sets.mnist(n_train=3, damage=dict.fromkeys(range(3), b""))
    split = data.load("mnist", holdout=0.0).train
    batches = data.train_iterator(split, batch_size=2, seed=0)
    for nothing in (batches, data.eval_batches(split, batch_size=2)):
        with pytest.raises(ValueError, match="no record of mnist train is readable"):
            next(nothing)


def test_an_empty_set_from_outside_is_an_error():
    with pytest.raises(ValueError, match=r"the split 'none' is empty"):
        data.load(f"{__name__}:without_test")


def without_test():
    digits = data.load("digits")
    nothing = replace(digits.test, name="none", indices=np.arange(0))
    return replace(digits, test=nothing)


@pytest.mark.parametrize("name", ["digits", "mnist", "imagenette"])
def test_batches_of_one(sets, name):
    sets.mnist()
    sets.imagenette()
    options = {} if name == "digits" else {"image_size": 16}
    dataset = data.load(name, **options)
    batches = data.train_iterator(dataset.train, batch_size=1, seed=0)
    assert next(batches)["label"].shape == (1,)
    assert next(data.eval_batches(dataset.test, batch_size=1)).label.shape == (1,)
