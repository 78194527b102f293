"""`tfds:NAME`: sets that no recipe describes."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from dst_jax import data
from dst_jax.data.__main__ import main


def records(sets, n, *, label=lambda i: i % 3, kind="image", name="label"):
    image = sets.encode(np.full((12, 12, 3), 7, np.uint8))
    return [{kind: image, name: label(i)} for i in range(n)]


def write(sets, splits, *, name="flowers", **options):
    return sets(name, splits, shape=(None, None, 3), classes=3, **options)


def lengths(dataset):
    held = dataset.holdout
    return len(dataset.train), len(held) if held else 0, len(dataset.test)


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({"train": 20, "test": 4}, (18, 2, 4)),
        ({"train": 20, "validation": 4}, (18, 2, 4)),
        ({"train": 20, "validation": 5, "test": 4}, (20, 5, 4)),
        ({"train": 20}, (14, 2, 4)),
    ],
)
def test_the_splits_are_those_of_the_set(sets, splits, expected):
    write(sets, {split: records(sets, n) for split, n in splits.items()})
    dataset = data.load("tfds:flowers")
    assert lengths(dataset) == expected
    assert (dataset.image_shape, dataset.class_names) == ((12, 12, 3), ("0", "1", "2"))
    np.testing.assert_allclose(dataset.mean, 7 / 255)
    assert data.fingerprint(dataset)["version"] == "1.0.0"
    batch = next(data.train_iterator(dataset.train, batch_size=4, seed=0))
    assert batch["image"].shape == (4, 12, 12, 3)


def test_a_split_without_public_labels_is_left_out(sets):
    secret = records(sets, 4, label=lambda i: -1)
    known = records(sets, 5)
    write(sets, {"train": records(sets, 20), "validation": known, "test": secret})
    assert lengths(data.load("tfds:flowers")) == (18, 2, 5)


def test_the_only_image_and_label_have_any_name(sets):
    folder = sets.root / "mine" / "1.0.0"
    folder.mkdir(parents=True)
    features = {
        "photo": tfds.features.Image(shape=(None, None, 3)),
        "kind": tfds.features.ClassLabel(names=["cat", "dog", "emu"]),
    }
    tfds.features.FeaturesDict(features).save_config(folder)
    own = records(sets, 6, kind="photo", name="kind")
    sets._write(folder, "mine", "train", tfds.features.FeaturesDict(features), own)
    sets.write_info(folder, "mine", {"train": own})
    assert data.load("tfds:mine").class_names == ("cat", "dog", "emu")


def test_configurations_are_named(sets):
    splits = {"train": records(sets, 6)}
    for config in ("large", "small"):
        write(sets, splits, name=f"flowers/{config}")
    assert len(data.load("tfds:flowers/small", holdout=0.0).train) == 5
    message = "has configurations: name one of tfds:flowers/large, tfds:flowers/small"
    with pytest.raises(FileNotFoundError, match=message):
        data.load("tfds:flowers")


def test_a_missing_set_gives_the_command_that_prepares_it(sets, capsys):
    with pytest.raises(FileNotFoundError, match="prepare tfds:flowers --data-dir"):
        data.load("tfds:flowers")
    write(sets, {"train": records(sets, 6)})
    assert main(["prepare", "tfds:flowers"]) == 0
    assert "tfds:flowers is ready in" in capsys.readouterr().out
    assert main(["prepare", "folder:flowers"]) == 0
    assert "its files are read as they are" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a/b/c", "../flowers", "/flowers", "flowers/"])
def test_other_paths_are_refused(sets, name):
    with pytest.raises(ValueError, match=f"'tfds:{name}' must be tfds:NAME or"):
        data.load(f"tfds:{name}")


def test_sets_without_an_image_and_a_label_are_refused(sets):
    more = {f"other_{x}": tfds.features.ClassLabel(num_classes=3) for x in "ab"}
    number = tfds.features.Scalar(np.int64)
    write(sets, {"train": []}, name="none", label=number)
    with pytest.raises(ValueError, match=r"one ClassLabel, .* got none of the"):
        data.load("tfds:none")
    write(sets, {"train": []}, name="many", label=number, **more)
    with pytest.raises(ValueError, match=r"got \['other_a', 'other_b'\] of the"):
        data.load("tfds:many")
    depth = tfds.features.Image(shape=(None, None, 1), dtype=np.float32)
    write(sets, {"train": []}, name="depth", image=depth)
    with pytest.raises(ValueError, match="an image of uint8 or uint16, got float32"):
        data.load("tfds:depth")


def test_a_set_of_no_records_is_refused(sets):
    write(sets, {"train": []})
    with pytest.raises(ValueError, match="split 'train': it is empty"):
        data.load("tfds:flowers")
