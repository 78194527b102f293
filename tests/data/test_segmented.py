"""Photographs with label maps: TFDS, folders, and what is wrong with them."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from dst_jax import data
from dst_jax.data import CorruptRecord, LabelMaps
from dst_jax.data.__main__ import main
from dst_jax.data.augments import moves_labels, names, together
from dst_jax.data.images import decode_pair
from dst_jax.data.recipe import Recipe
from dst_jax.data.recipes import recipe_of
from dst_jax.data.records import DecodedRecords
from dst_jax.data.segmented import crop_box


def png(pixels, mode=None):
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels))
    (image if mode is None else image.convert(mode)).save(file, "png")
    return file.getvalue()


def pair(i, classes, *, width=40, height=20):
    """An image whose red is ten times the label, and the label map: vertical bars."""
    labels = (np.arange(width) * len(classes) // width)[None].repeat(height, 0)
    image = np.full((height, width, 3), i, np.uint8)
    image[:, :, 0] = 10 * labels
    stored = np.asarray(classes, np.uint8)[labels]
    return png(image), png(stored)


def whole(width, height):
    return 0.0, 0.0, float(width), float(height)


PETS = {"label": "segmentation_mask"}
CITY = {"image": "image_left", "label": "segmentation_label"}


def test_pets_are_read(sets):
    pairs = [pair(i, (1, 2, 3)) for i in range(4)]
    sets.segmented("oxford_iiit_pet", {"train": pairs, "test": pairs[:2]}, **PETS)
    dataset = data.load("oxford_iiit_pet", image_size=12, holdout=0.25)
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (3, 1, 2)
    assert (dataset.num_classes, dataset.ignore) == (3, 255)
    image, label = dataset.test.example(0)
    assert (image.shape, label.shape) == ((12, 12, 3), (12, 12))
    assert label[0].tolist() == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("cityscapes", [255, 0, 2, 18]),
        ("cityscapes_categories", [0, 1, 2, 7]),
    ],
)
def test_cityscapes_has_its_classes_or_its_categories(sets, name, labels):
    pairs = [pair(0, (4, 7, 11, 33))]
    sets.segmented(
        "cityscapes/semantic_segmentation",
        {"train": pairs * 3, "validation": pairs},
        **CITY,
    )
    dataset = data.load(name, image_size=4, holdout=0.0)
    assert dataset.test.example(0).label[0].tolist() == labels
    assert data.fingerprint(dataset)["version"] == "1.0.0"


# Of the ids 0 to 33, as cityscapesscripts/helpers/labels.py lists them.
TRAIN_IDS = [
    *[255] * 7,  # void
    *(0, 1, 255, 255),  # road, sidewalk, parking, rail track
    *(2, 3, 4, 255, 255, 255),  # building, wall, fence, guard rail, bridge, tunnel
    *(5, 255, 6, 7),  # pole, polegroup, traffic light, traffic sign
    *(8, 9, 10, 11, 12),  # vegetation, terrain, sky, person, rider
    *(13, 14, 15, 255, 255, 16, 17, 18),  # car, truck, bus, ..., train, motorcycle, ...
]
CATEGORIES = [0] * 7 + [1] * 4 + [2] * 6 + [3] * 4 + [4] * 2 + [5] + [6] * 2 + [7] * 8


@pytest.mark.parametrize(
    ("name", "labels"),
    [("cityscapes", TRAIN_IDS), ("cityscapes_categories", CATEGORIES)],
)
def test_the_labels_of_cityscapes_are_the_official_ones(name, labels):
    recipe = recipe_of(name)
    found = recipe.label_maps.classes(np.arange(34)[None])
    assert found[0].tolist() == labels
    assert recipe.num_classes == len(set(labels) - {255})


def test_archives_of_cityscapes_are_asked_for_by_name(tmp_path, capsys):
    arguments = ["--data-dir", str(tmp_path), "--manual-dir", str(tmp_path)]
    assert main(["prepare", "cityscapes", *arguments]) == 2
    error = capsys.readouterr().err
    assert "gtFine_trainvaltest.zip" in error
    assert "cityscapes-dataset.com" in error


def test_what_is_not_prepared_names_the_manual_folder(sets):
    with pytest.raises(FileNotFoundError, match=r"prepare cityscapes .*--manual-dir"):
        data.load("cityscapes")


def test_the_coarse_classes_of_cifar100_have_a_name():
    recipe = recipe_of("cifar100_coarse")
    assert (recipe.tfds, recipe.num_classes) == ("cifar100", 20)
    assert recipe.label_feature == "coarse_label"


def test_a_crop_is_the_same_of_image_and_labels(sets):
    """The red of every pixel says which label it had, between the bars' edges."""
    pairs = [pair(i, range(1, 4), width=90, height=60) for i in range(3)]
    sets.segmented("oxford_iiit_pet", {"train": pairs, "test": pairs}, **PETS)
    split = data.load("oxford_iiit_pet", image_size=30, holdout=0.0).train
    rng = np.random.default_rng(0)
    seen = set()
    for i in range(30):
        image, label = split.example(i % 3, rng)
        sure = image[:, :, 0] % 10 == 0
        assert sure.mean() > 0.5
        np.testing.assert_array_equal(image[:, :, 0][sure] // 10, label[sure])
        seen.add(tuple(np.bincount(label.ravel(), minlength=3)))
    assert len(seen) > 10


def test_the_crop_keeps_the_shape_of_the_photograph():
    assert crop_box(200, 100, None) == (0.0, 0.0, 200.0, 100.0)
    rng = np.random.default_rng(0)
    for _ in range(50):
        left, top, right, bottom = crop_box(200, 100, rng)
        assert 0 <= left < right <= 200
        assert 0 <= top < bottom <= 100
        assert (right - left) * (bottom - top) >= 0.24 * 20_000
        assert 1.4 < (right - left) / (bottom - top) < 2.8


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_label_maps_have_any_bit_depth(mode):
    values = np.array([[0, 1], [2, 3]], np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(values)
    if mode == "P":
        image = Image.fromarray(values, "L")
        image.putpalette([c for i in range(256) for c in (i * 3 % 256, 7, 250)])
    file = io.BytesIO()
    image.save(file, "png", **({"bits": 2} if mode == "P" else {}))
    colours = png(np.zeros((2, 2, 3), np.uint8))
    _, labels = decode_pair(colours, file.getvalue(), whole, size=2)
    np.testing.assert_array_equal(labels, values)


@pytest.mark.parametrize(("depth", "byte"), [(1, 0b01000000), (2, 0b01110000)])
def test_grey_of_few_bits_is_not_stretched(png_of_bits, depth, byte):
    """Two pixels side by side: 0 and 1, or 1 and 3."""
    colours = png(np.zeros((1, 2, 3), np.uint8))
    _, labels = decode_pair(colours, png_of_bits(depth, byte), whole, size=2)
    assert labels[0].tolist() == ([0, 1] if depth == 1 else [1, 3])


@pytest.fixture
def png_of_bits():
    """PNG files of 2 x 1 grey pixels of few bits, as the specification has them."""
    import struct
    import zlib

    def chunk(kind, body):
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    def make(depth, byte):
        header = struct.pack(">IIBBBBB", 2, 1, depth, 0, 0, 0, 0)
        rows = zlib.compress(bytes([0, byte]))
        parts = [(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)

    return make


def damaged(kind):
    image, labels = pair(0, (1, 2, 3))
    jpeg = io.BytesIO()
    Image.fromarray(np.ones((20, 40), np.uint8)).save(jpeg, "jpeg")
    return {
        "size": (
            (image, png(np.ones((10, 40), np.uint8))),
            "label map of 40 x 10 pixels is not of the size of its image, 40 x 20",
        ),
        "range": (
            (image, png(np.full((20, 40), 9, np.uint8))),
            r"label 9 is not one of \[1, 2, 3, 255\]",
        ),
        "colour": ((image, image), "PNG of one channel, got PNG of mode RGB"),
        "jpeg": ((image, jpeg.getvalue()), "PNG of one channel, got JPEG"),
        "junk": ((image, b"junk"), "neither PNG nor JPEG"),
        "image": ((b"junk", labels), "neither PNG nor JPEG"),
    }[kind]


@pytest.mark.parametrize("kind", ["size", "range", "colour", "jpeg", "junk", "image"])
def test_what_is_wrong_with_a_label_map_is_named(sets, kind):
    broken, reason = damaged(kind)
    pairs = [pair(i, (1, 2, 3)) for i in range(4)]
    sets.segmented(
        "oxford_iiit_pet", {"train": [*pairs[:2], broken], "test": pairs}, **PETS
    )
    dataset = data.load("oxford_iiit_pet", image_size=8, holdout=0.0)
    with pytest.raises(CorruptRecord, match=reason):
        dataset.train.example(2)
    assert list(dataset.train.corrupt.reasons) == ["oxford_iiit_pet train[2]"]
    batches = list(data.eval_batches(dataset.train, batch_size=3))
    assert [len(batch.label) for batch in batches] == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "num_classes must be 1 to 256, got 0"),
        ({"num_classes": 257}, "num_classes must be 1 to 256, got 257"),
        ({"ignore": 256, "outside": 256}, "ignore must be 0 to 255, got 256"),
        ({"outside": 3}, r"outside must be a class in \[0, 3\) or ignore=255, got 3"),
        ({"ignore": None, "outside": -1}, "outside must be a class"),
    ],
)
def test_label_maps_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        LabelMaps(**{"num_classes": 3, "ignore": 255, "outside": 255, **options})


def test_labels_that_stand_for_no_class_are_named():
    maps = LabelMaps(3, ignore=None, outside=0)
    for value in (3, -1, 255, 70_000):
        with pytest.raises(ValueError, match=rf"label {value} is not in \[0, 2\]"):
            maps.classes(np.array([[0, value]]))


@pytest.mark.parametrize("name", names())
def test_augmentations_move_image_and_labels_alike(name):
    """Labels that are drawn into the image stay where they are drawn."""
    (augment,) = data.augments.by_names([name])
    label = np.zeros((24, 24), np.uint8)
    label[6:18, 8:20] = 1
    image = (label * 200)[:, :, None]
    rng = np.random.default_rng(0)
    for _ in range(10):
        moved, found = together((augment, augment), image, label, rng, fill=9)
        assert set(np.unique(found)) <= {0, 1, 9}
        assert moved[found == 1].min() >= 50  # half the ink of an edge, twice
        assert (moved[found == 0] <= 150).all()
        assert (moved[found == 9] <= 60).all()
        assert (found == 1).sum() > 60


def test_an_augmentation_that_cannot_move_labels_is_refused():
    def darker(image, rng):
        return image // 2

    assert not moves_labels(darker)
    with pytest.raises(ValueError, match=r"augment must move .* option `fill`"):
        data_recipe(augment=(darker,))
    with pytest.raises(ValueError, match="must have the 4 classes"):
        data_recipe(num_classes=4)


def data_recipe(**options):
    given = {
        "tfds": "mine",
        "train_split": "train",
        "test_split": "test",
        "num_classes": 3,
        "image_size": 8,
        "channels": 3,
        "mean": (0.5,) * 3,
        "std": (0.5,) * 3,
        "label_maps": LabelMaps(3, ignore=None, outside=0),
    }
    return Recipe(**{**given, **options})


@pytest.fixture
def folder(tmp_path):
    """Two pairs to train on and one to test on, of two classes."""
    root = tmp_path / "mine"
    for split, count in (("train", 4), ("test", 1)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True)
        for i in range(count):
            image, labels = pair(i, (0, 1))
            (root / split / "images" / f"{i}.png").write_bytes(image)
            (root / split / "labels" / f"{i}.png").write_bytes(labels)
    (root / "dataset.json").write_text(json.dumps({"num_classes": 2}))
    return root


def test_folders_of_images_and_label_maps_are_a_data_set(folder):
    dataset = data.load("folders", data_dir=folder, image_size=8, holdout=0.25)
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (3, 1, 1)
    assert (dataset.num_classes, dataset.ignore) == (2, 255)
    assert dataset.test.example(0).label[0].tolist() == [0] * 4 + [1] * 4
    batch = next(data.train_iterator(dataset.train, batch_size=2, seed=0))
    assert (batch["image"].shape, batch["label"].shape) == ((2, 8, 8, 3), (2, 8, 8))
    before = data.fingerprint(dataset)
    image, labels = pair(7, (1, 1, 0))
    (folder / "train" / "images" / "9.png").write_bytes(image)
    (folder / "train" / "labels" / "9.png").write_bytes(labels)
    after = data.fingerprint(data.load("folders", data_dir=folder, image_size=8))
    assert before["files"] != after["files"]


def test_folders_describe_themselves(folder):
    entries = {"num_classes": 2, "ignore": None, "channels": 1, "augment": ["affine"]}
    entries |= {"mean": [0.2], "std": [0.3], "holdout": 0.5, "image_size": 16}
    (folder / "dataset.json").write_text(json.dumps(entries))
    dataset = data.load("folders", data_dir=folder)
    assert dataset.image_shape == (16, 16, 1)
    assert (dataset.ignore, dataset.mean, dataset.std) == (None, (0.2,), (0.3,))
    assert (len(dataset.train), len(dataset.holdout)) == (2, 2)
    assert data.load("folders", data_dir=folder, standardise=False).std == (1.0,)


@pytest.mark.parametrize(
    ("file", "content", "error", "message"),
    [
        ("dataset.json", None, FileNotFoundError, "there is no file .*dataset.json"),
        ("dataset.json", "{", ValueError, "dataset.json: Expecting"),
        ("dataset.json", "[]", ValueError, "object with an entry num_classes"),
        ("dataset.json", '{"num_classes": 2.5}', ValueError, "a whole number, got 2.5"),
        ("dataset.json", '{"num_classes": 2, "std": [0]}', ValueError, "3 values"),
        (
            "dataset.json",
            '{"num_classes": 2, "ingore": 0}',
            ValueError,
            r"\['ingore'\].*did you mean 'ignore'",
        ),
        (
            "dataset.json",
            '{"num_classes": 2, "augment": ["flipp"]}',
            ValueError,
            "did you mean 'flip'",
        ),
        ("train/labels/1.png", None, ValueError, "image .*1.png has no label map"),
        ("train/images/1.png", None, ValueError, "label map .*1.png has no image"),
        ("train/images/1.jpg", "junk", ValueError, "1.jpg and .*1.png have the same"),
    ],
)
def test_what_a_folder_lacks_is_named(folder, file, content, error, message):
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(error, match=message):
        data.load("folders", data_dir=folder, image_size=8)


def test_folders_need_a_directory_with_files(folder, capsys):
    with pytest.raises(ValueError, match="needs data_dir"):
        data.load("folders")
    for path in (folder / "test" / "images").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match=r"test/images is empty"):
        data.load("folders", data_dir=folder)
    assert main(["prepare", "folders"]) == 0
    assert "--data.dir" in capsys.readouterr().out


def in_memory(labels, *, outside=255, augment=(), ignore=255):
    """A data set from outside, of two images of 4 x 4 pixels and three classes."""
    images = np.zeros((2, 4, 4, 3), np.uint8)
    records = DecodedRecords(images, labels, augment, {}, outside)
    split = data.Split("mine", records, np.arange(2), data.CorruptLog(0))
    return data.Dataset(
        "mine", 3, (4, 4, 3), (0.5,) * 3, (0.5,) * 3, split, None, split, ignore=ignore
    )


@pytest.mark.parametrize(
    ("shape", "label", "options", "message"),
    [
        ((2, 4, 4), 2, {}, None),
        ((2, 4, 4), 255, {}, None),
        ((2, 4, 2), 0, {}, r"the shape \(2, 4, 4\) of the images, got \(2, 4, 2\)"),
        ((2, 4, 4), 0, {"outside": None}, "outside must be a label"),
        ((2, 4, 4), 0, {"augment": (lambda x, rng: x,)}, "augment must move"),
        ((2, 4, 4), 3, {}, r"'mine' has the label 3, not in \[0, 3\) nor ignore=255"),
        ((2, 4, 4), 255, {"ignore": None}, "has the label 255, .* ignore=None"),
    ],
)
def test_label_maps_from_outside_are_checked(
    monkeypatch, shape, label, options, message
):
    def make():
        return in_memory(np.full(shape, label, np.uint8), **options)

    monkeypatch.setattr(data, "_mine", make, raising=False)
    if message is None:
        assert data.load("dst_jax.data:_mine").train.example(0).label[0, 0] == label
    else:
        with pytest.raises(ValueError, match=message):
            data.load("dst_jax.data:_mine")
