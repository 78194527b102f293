"""`folder:PATH`: a folder of images for each class, and what may be wrong with it."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from dst_jax import data
from dst_jax.data import CorruptRecord


def write(path, value=0, *, shape=(8, 8, 3), mode=None, **options):
    """An image of one value, or of the pixels that are given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.broadcast_to(np.asarray(value, np.uint8), shape)
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image = image if mode is None else image.convert(mode)
    kind = "jpeg" if path.suffix.lower() in (".jpg", ".jpeg") else "png"
    image.save(path, kind, **options)
    return path


def fill(folder, classes=("cat", "dog"), n=5, **options):
    """A class folder for each name, with images of different values."""
    for label, name in enumerate(classes):
        for i in range(n):
            write(folder / name / f"{i}.png", 100 * label + 10 * i, **options)


@pytest.fixture
def photos(tmp_path):
    """Two classes, five images of each to train on and two to test on."""
    root = tmp_path / "photos"
    fill(root / "train")
    fill(root / "test", n=2)
    return root


def load(root, **options):
    return data.load(f"folder:{root}", **options)


def labels_of(split):
    return [split.example(i).label for i in range(len(split))]


def test_classes_are_folders(photos):
    dataset = load(photos, holdout=0.2)
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (8, 2, 4)
    assert dataset.class_names == ("cat", "dog")
    assert (dataset.num_classes, dataset.image_shape) == (2, (8, 8, 3))
    assert labels_of(dataset.test) == [0, 0, 1, 1]
    image, _ = dataset.test.example(3)
    np.testing.assert_array_equal(image, 110)
    batch = next(data.train_iterator(dataset.train, batch_size=4, seed=0))
    assert batch["image"].shape == (4, 8, 8, 3)


@pytest.mark.parametrize("photographs", [False, True])
def test_mean_and_deviation_are_those_of_the_training_images(tmp_path, photographs):
    rng = np.random.default_rng(0)
    side = 72 if photographs else 16
    pixels = rng.integers(0, 256, (4, side, side, 3))
    pixels[..., 2] = 0
    for i, own in enumerate(pixels):
        write(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", own, shape=own.shape)
        write(tmp_path / "test" / "ab"[i % 2] / f"{i}.png", 255)
    # The centre of 63 pixels is what evaluation keeps of 72: neither is resized.
    dataset = load(tmp_path, image_size=63 if photographs else None)
    edge = slice(4, 67) if photographs else slice(None)
    seen = pixels[:, edge, edge] / 255
    if photographs:
        shown = [dataset.train.records.example(i).image for i in range(4)]
        seen = np.stack(shown) / 255
    np.testing.assert_allclose(dataset.mean, seen.mean((0, 1, 2)), atol=1e-12)
    expected = seen.std((0, 1, 2))
    np.testing.assert_allclose(dataset.std[:2], expected[:2], atol=1e-12)
    assert dataset.std[2] == 1.0  # a channel that is always black


def test_nothing_is_written_and_the_fingerprint_tells_states_apart(photos):
    before = sorted(photos.rglob("*"))
    found = data.fingerprint(load(photos))
    assert sorted(photos.rglob("*")) == before
    assert found["class_names"] == ["cat", "dog"]
    assert found == data.fingerprint(load(photos))
    write(photos / "test" / "cat" / "new.png")
    assert data.fingerprint(load(photos))["files"] != found["files"]


def test_without_splits_a_fifth_of_each_class_is_tested_on(tmp_path):
    fill(tmp_path, n=10)
    write(tmp_path / "emu" / "1.png")
    write(tmp_path / "emu" / "2.png")
    dataset = load(tmp_path, holdout=0.0)
    assert np.bincount(labels_of(dataset.train)).tolist() == [8, 8, 1]
    assert np.bincount(labels_of(dataset.test)).tolist() == [2, 2, 1]
    again = load(tmp_path, holdout=0.0)
    for i in range(len(dataset.test)):
        found = again.test.example(i).image
        np.testing.assert_array_equal(found, dataset.test.example(i).image)


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_third_split_is_the_hold_out(photos, name):
    fill(photos / name, n=3)
    dataset = load(photos)
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (10, 6, 4)
    assert data.fingerprint(dataset)["holdout"] == "its own split"
    with pytest.raises(ValueError, match=r"has a hold-out, got 0\.5"):
        load(photos, holdout=0.5)


def test_val_is_tested_on_where_there_is_no_test(photos):
    (photos / "test").rename(photos / "val")
    dataset = load(photos, holdout=0.0)
    assert (dataset.holdout, len(dataset.test)) == (None, 4)


def test_train_may_be_a_class(tmp_path):
    fill(tmp_path, classes=("bus", "train"))
    assert load(tmp_path).class_names == ("bus", "train")


def test_numbers_are_in_their_order(tmp_path):
    fill(tmp_path, classes=("9", "10", "2"), n=2)
    assert load(tmp_path).class_names == ("2", "9", "10")


def test_paths_have_any_letters(tmp_path, monkeypatch):
    root = tmp_path / "my photos: 2026 [a]"
    fill(root, classes=("no cat", "Grün:1"))
    for path in (root, f"{root}/"):
        assert load(path).class_names == ("Grün:1", "no cat")
    found = data.load(f"folder:{root.name}", data_dir=tmp_path)
    assert found.name == f"folder:{root.name}"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(data.load(f"folder:~/{root.name}").class_names) == 2


def test_odd_files_are_left_out_and_named(photos, caplog):
    cats = photos / "train" / "cat"
    write(cats / "UP.PNG", 1)
    write(cats / "more" / "deep.JPG", 2)
    (cats / "link.png").symlink_to(cats / "0.png")
    (photos / "train" / "dog").rename(photos.parent / "dogs")
    (photos / "train" / "dog").symlink_to(photos.parent / "dogs")
    (cats / "loop").symlink_to(cats)
    for hidden in (cats / "._0.png", photos / ".DS_Store", cats / "Thumbs.db"):
        hidden.write_bytes(b"junk")
    (photos / "__MACOSX" / "cat").mkdir(parents=True)
    (cats / "notes.txt").write_text("x")
    (photos / "train" / "README").write_text("x")
    dataset = load(photos, holdout=0.0)
    assert np.bincount(labels_of(dataset.train)).tolist() == [8, 5]
    (line,) = [x for x in caplog.messages if "left out" in x]
    assert "left out 3 files that are no PNG or JPEG: train/README, " in line
    assert "train/cat/loop, train/cat/notes.txt" in line
    assert data.fingerprint(dataset)["left_out"] == "3"
    assert not dataset.train.corrupt.reasons


def test_corrupt_images_are_named_and_counted(photos):
    cats = photos / "train" / "cat"
    whole = (cats / "1.png").read_bytes()
    (cats / "1.png").write_bytes(whole[: len(whole) // 2])
    (cats / "2.png").write_bytes(b"")
    (cats / "3.png").unlink()
    (cats / "3.png").symlink_to("nowhere")
    write(cats / "4.png", shape=(9, 8, 3))  # the others are squares of 8 pixels
    dataset = load(photos, holdout=0.0, image_size=8)
    for i in (1, 2, 3):
        with pytest.raises(CorruptRecord, match=f"train/cat/{i}"):
            dataset.train.example(i)
    reasons = dataset.train.corrupt.reasons
    assert len(reasons) == 3
    assert "FileNotFoundError" in " ".join(reasons.values())
    with pytest.raises(ValueError, match="more than corrupt_limit=1 corrupt records"):
        load(photos, corrupt_limit=1)


@pytest.mark.parametrize(
    ("mode", "value", "pixel"),
    [
        ("P", 204, [204] * 3),
        ("RGBA", 90, [90] * 3),
        ("LA", 90, [90] * 3),
        ("1", 255, [255] * 3),
    ],
)
def test_other_colours_are_converted(tmp_path, mode, value, pixel):
    fill(tmp_path / "train")
    fill(tmp_path / "test", n=1)
    write(tmp_path / "test" / "cat" / "0.png", value, mode=mode)
    assert load(tmp_path).test.example(0).image[0, 0].tolist() == pixel


def test_sixteen_bits_and_grey_images_have_one_channel(tmp_path):
    fill(tmp_path, shape=(8, 8))
    deep = Image.fromarray(np.full((8, 8), 0x4000, np.uint16))
    for i in range(40):
        deep.save(tmp_path / "cat" / f"deep{i}.png")
    dataset = load(tmp_path, holdout=0.0)
    assert dataset.image_shape == (8, 8, 1)
    images = [dataset.train.example(i) for i in range(len(dataset.train))]
    assert 64 in {int(x.image[0, 0, 0]) for x in images}
    colour = load(tmp_path, channels=3)
    assert colour.image_shape == (8, 8, 3)
    with pytest.raises(ValueError, match="channels must be 1 or 3, got 2"):
        load(tmp_path, channels=2)


def test_photographs_have_any_shape(tmp_path):
    for i in range(12):
        write(tmp_path / "ab"[i % 2] / f"{i}.jpg", 20 * i, shape=(30 + i, 60 - i, 3))
    assert load(tmp_path).image_shape == (224, 224, 3)
    dataset = load(tmp_path, image_size=24, holdout=0.25)
    rng = np.random.default_rng(0)
    for own in (None, rng):
        assert dataset.train.example(0, own).image.shape == (24, 24, 3)
    assert dataset.train.records.augment == (data.augments.flip,)


def test_statistics_may_be_given(photos, monkeypatch):
    given = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    dataset = load(photos, **given)
    assert (dataset.mean, dataset.std) == (given["mean"], given["std"])
    assert load(photos, standardise=False).std == (1.0,) * 3
    with pytest.raises(ValueError, match=r"must have 3 values.* got 1"):
        load(photos, mean=[0.5], std=[0.5])
    with pytest.raises(ValueError, match="mean and std must both be given"):
        load(photos, mean=[0.5] * 3)
    with pytest.raises(ValueError, match="mean must not be given without standardise"):
        load(photos, **given, standardise=False)
    assert data.load("digits", mean=[0.5], std=[0.25]).mean == (0.5,)
    with pytest.raises(ValueError, match="mean and std must have 1 values"):
        data.load("digits", **given)
    with pytest.raises(ValueError, match="channels of data set 'digits' must be 1"):
        data.load("digits", channels=3)


def test_its_splits_go_to_worker_processes(photos):
    again = pickle.loads(pickle.dumps(load(photos, image_size=16)))
    assert again.test.example(2).label == 1


def _alter(photos, kind):
    """A folder with something wrong, and the words that name it."""
    rename = {
        "no split": (photos / "train" / "cat", photos / "extra" / "cat"),
        "class": (photos / "test" / "cat", photos.parent / "away"),
        "case": (photos / "test" / "cat", photos / "test" / "Cat"),
        "train": (photos / "train", photos.parent / "away"),
    }
    if kind in rename:
        before, after = rename[kind]
        after.parent.mkdir(exist_ok=True)
        before.rename(after)
    if kind == "more":
        write(photos / "test" / "emu" / "1.png")
    if kind == "empty class":
        (photos / "train" / "emu").mkdir()
        (photos / "train" / "emu" / "1.webp").touch()
    if kind == "twice":
        fill(photos / "val")
        fill(photos / "validation")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("class", "the split 'test' has no folder of the class 'cat'"),
        ("case", "no folder of the class 'cat', .* did you mean 'Cat'"),
        ("more", "the split 'test' has a folder of the class 'emu'"),
        ("empty class", r"train/emu has no image .*\.png.* only emu/1\.webp"),
        ("train", "has no folder train, only test"),
        ("twice", "val and .*validation are one split"),
    ],
)
def test_what_is_wrong_with_splits_is_named(photos, kind, message):
    _alter(photos, kind)
    with pytest.raises(ValueError, match=message):
        load(photos)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "has no class folder; it must be PATH/CLASS/IMAGE, or PATH/train/"),
        (["1.png", "2.png"], "has no class folder"),
        (["cat/1.png", "cat/2.png"], "has one class folder, 'cat'; at least two"),
        (["train/1.png", "test/1.png"], r"train has no class folder, only 1\.png"),
        (["a/1.png", "b/1.png", "b/2.png"], "the class 'a' has one image; .* 2"),
        (["a/1.gif", "b/1.png"], r"a has no image .*, only a/1\.gif"),
    ],
)
def test_what_a_folder_lacks_is_named(tmp_path, files, message):
    for file in files:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        write(path) if path.suffix == ".png" else path.touch()
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_a_missing_folder_and_a_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere': .*nowhere does not exist"):
        load(tmp_path / "nowhere")
    file = write(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match=r"a\.png is no folder"):
        load(file)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder:", "must be folder:PATH, arrays:FILE.npz, .* got 'folder:'"),
        (":photos", "must be folder:PATH"),
        ("foldr:photos", "there is no module foldr; did you mean 'folder'"),
        ("photos", "'photos' is not one of: digits.*folder:PATH, arrays:FILE.npz"),
    ],
)
def test_other_names_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        data.load(name)


def test_hidden_label_maps_are_no_label_maps(tmp_path):
    """The folders of segmentation leave out the same files."""
    for split in ("train", "test"):
        for kind, shape in (("images", (8, 8, 3)), ("labels", (8, 8))):
            write(tmp_path / split / kind / "1.png", shape=shape)
            (tmp_path / split / kind / "._1.png").write_bytes(b"junk")
        (tmp_path / split / "images" / "._2.png").write_bytes(b"junk")
    (tmp_path / "dataset.json").write_text('{"num_classes": 2, "holdout": 0}')
    assert len(data.load("folders", data_dir=tmp_path, image_size=8).train) == 1


def test_an_image_of_no_bytes_is_no_image():
    with pytest.raises(ValueError, match="pixels must be uint8 of shape"):
        data.from_sources(
            [{"image": np.zeros((4, 4)), "label": i % 2} for i in range(8)],
            class_names=["a", "b"],
            image_size=4,
        )


def _png(value):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(file, "png")
    return file.getvalue()


def test_any_records_are_a_data_set():
    records = [{"image": _png(i), "label": np.int64(i % 2)} for i in range(10)]
    assert isinstance(records, data.Source)
    dataset = data.from_sources(records, class_names=["even", "odd"], holdout=0.25)
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (6, 2, 2)
    shown = dataset.test.example(0)
    assert shown.image[0, 0, 0] % 2 == shown.label
    other = data.from_sources(records[:8], records[8:], class_names=["even", "odd"])
    assert labels_of(other.test) == [0, 1]


def test_labels_are_integers_of_a_class():
    def records(label):
        wrong = {"image": _png(0), "label": label}
        return [{"image": _png(i), "label": i % 2} for i in range(4)] + [wrong]

    for label, reason in ((1.0, "TypeError"), (2, "not in"), (-1, "not in")):
        found = data.from_sources(records(label), records(0), class_names=["a", "b"])
        assert reason in " ".join(found.train.corrupt.reasons.values())
    with pytest.raises(ValueError, match=r"at least two classes, got \['a'\]"):
        data.from_sources(records(0), class_names=["a"])
    with pytest.raises(ValueError, match="different, got 'a' twice"):
        data.from_sources(records(0), class_names=["a", "a"])
    with pytest.raises(ValueError, match="the split 'test' is empty"):
        data.from_sources(records(0), [], class_names=["a", "b"])
