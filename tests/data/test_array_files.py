"""`arrays:FILE.npz`, and what may be wrong with it."""

import numpy as np
import pytest

from dst_jax import data

LABELS = np.arange(20) % 2
IMAGES = np.full((20, 8, 8), 100, np.uint8) * LABELS[:, None, None].astype(np.uint8)


def saved(path, **arrays):
    np.savez(path / "mine.npz", **arrays)
    return f"arrays:{path / 'mine.npz'}"


def test_without_splits_a_fifth_of_each_class_is_tested_on(tmp_path):
    name = saved(tmp_path, images=IMAGES, labels=LABELS)
    dataset = data.load(name, holdout=0.25)
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (12, 4, 4)
    assert (dataset.image_shape, dataset.class_names) == ((8, 8, 1), ("0", "1"))
    assert [dataset.test.example(i).label for i in range(4)].count(1) == 2
    assert dataset.test.example(1).image[0, 0, 0] == 100 * dataset.test.example(1).label
    np.testing.assert_allclose((*dataset.mean, *dataset.std), 50 / 255)
    before = data.fingerprint(dataset)["files"]
    saved(tmp_path, images=IMAGES + 1, labels=LABELS)
    assert data.fingerprint(data.load(name))["files"] != before


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"),
        *(
            tuple(f"{split}_{kind}" for split in splits for kind in kinds)
            for splits in (("train", "test", "val"), ("train", "test", "validation"))
            for kinds in (("images", "labels"), ("image", "label"), ("X", "Y"))
        ),
    ],
)
def test_files_of_keras_and_medmnist_are_read(tmp_path, keys):
    arrays = (IMAGES[:10], LABELS[:10, None], IMAGES[10:14], LABELS[10:14])
    arrays = (*arrays, IMAGES[14:], LABELS[14:].astype(np.uint8))
    dataset = data.load(saved(tmp_path, **dict(zip(keys, arrays, strict=True))))
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (10, 6, 4)
    assert dataset.test.example(1).label == 1


def test_colours_large_images_and_names(tmp_path):
    images = np.zeros((20, 80, 70, 3), np.uint8)
    name = saved(tmp_path, image=images, label=LABELS, class_names=["no", "yes"])
    dataset = data.load(name, image_size=16)
    assert (dataset.image_shape, dataset.class_names) == ((16, 16, 3), ("no", "yes"))
    assert dataset.test.example(0).image.shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES}, r"images and labels, .* got no labels, only \['images'\]"),
        ({"labels": LABELS}, "got no images, only"),
        ({"a": LABELS}, "got no images, only"),
        ({"x": IMAGES, "images": IMAGES, "y": LABELS}, "are the same; leave one"),
        ({"x_test": IMAGES, "y_test": LABELS}, "got no images to train on"),
        ({"x_train": IMAGES, "y_test": LABELS}, "got no labels of the split 'train'"),
        ({"x": IMAGES / 255, "y": LABELS}, r"x must be uint8, got float64; .*255"),
        ({"x": IMAGES.astype(np.int64), "y": LABELS}, "must be uint8, got int64$"),
        ({"x": IMAGES[:, None], "y": LABELS}, r"got \(20, 1, 8, 8\); channels must be"),
        ({"x": IMAGES[0], "y": LABELS}, r"got \(8, 8\)"),
        ({"x": IMAGES[:, :0], "y": LABELS}, "pixels must not be empty"),
        ({"x": IMAGES, "y": LABELS / 1}, r"integers of shape \(n,\), got float64"),
        (
            {"x": IMAGES, "y": np.eye(2, dtype=int)[LABELS]},
            r"got int64 of shape \(20, ",
        ),
        ({"x": IMAGES, "y": LABELS[:9]}, "the same length, got 20 and 9"),
        ({"x": IMAGES[:0], "y": LABELS[:0]}, "x is empty"),
        ({"x": IMAGES, "y": LABELS - 1}, r"in \[0, 1\), got -1"),
        ({"x": IMAGES, "y": LABELS + 1}, "the class 0 has no image to train on"),
        ({"x": IMAGES, "y": LABELS * 0}, r"at least two classes, got \['0'\]"),
        ({"x": IMAGES, "y": np.r_[LABELS[:19], 2]}, "class 2 has one image"),
        ({"x": IMAGES, "y": LABELS, "class_names": ["a"]}, r"in \[0, 1\), got 1"),
        ({"x": IMAGES, "y": LABELS, "class_names": LABELS}, "must be text of shape"),
        (
            {"x": np.array([None] * 20), "y": LABELS},
            r"mine\.npz cannot be read as \.npz of plain arrays .*allow_pickle",
        ),
    ],
)
def test_what_is_wrong_with_arrays_is_named(tmp_path, arrays, message):
    with pytest.raises(ValueError, match=message):
        data.load(saved(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"junk", None, "npy"])
def test_other_files_are_refused(tmp_path, content):
    name = saved(tmp_path, images=IMAGES, labels=LABELS)
    file = tmp_path / "mine.npz"
    if content == "npy":
        with file.open("wb") as opened:
            np.save(opened, IMAGES)
    else:
        file.write_bytes(file.read_bytes()[:-50] if content is None else content)
    with pytest.raises(ValueError, match=r"mine\.npz cannot be read as \.npz"):
        data.load(name)
