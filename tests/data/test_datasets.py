import jax.numpy as jnp
import numpy as np
import pytest
import tensorflow_datasets as tfds

from dst_jax import data
from dst_jax.data import CorruptRecord


def labels_of(split):
    return [split.example(i).label for i in range(len(split))]


def test_digits_are_split_once_and_for_all():
    dataset = data.load("digits", holdout=0.0)
    assert (len(dataset.train), dataset.holdout, len(dataset.test)) == (1198, None, 599)
    assert dataset.image_shape == (16, 16, 1)
    assert labels_of(dataset.test)[:8] == [2, 8, 2, 6, 6, 7, 1, 9]
    counts = np.bincount(labels_of(dataset.train), minlength=10)
    assert counts.min() > 100


def test_the_statistics_of_digits_are_those_of_its_recipe():
    dataset = data.load("digits", holdout=0.0)
    pixels = dataset.train.records.images / 255
    assert pixels.mean() == pytest.approx(dataset.mean[0], abs=1e-4)
    assert pixels.std() == pytest.approx(dataset.std[0], abs=1e-4)


def test_black_stays_zero_if_images_are_not_standardised():
    plain, other = (data.load("digits", standardise=s) for s in (False, True))
    black = jnp.zeros((1, *plain.image_shape), jnp.uint8)
    assert (data.normalise(black, plain.mean, plain.std) == 0).all()
    assert (data.normalise(black + 255, plain.mean, plain.std) == 1).all()
    assert (data.normalise(black, other.mean, other.std) < 0).all()


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_the_holdout_is_disjoint_fixed_and_complete(fraction):
    dataset = data.load("digits", holdout=fraction)
    again = data.load("digits", holdout=fraction)
    kept, apart = dataset.train.indices, dataset.holdout.indices
    assert sorted([*kept, *apart]) == list(range(1198))
    assert len(apart) == round(1198 * fraction)
    np.testing.assert_array_equal(apart, again.holdout.indices)


def test_the_holdout_has_every_class_of_a_set_sorted_by_class(sets):
    sets.mnist(n_train=300, damage={i: {"label": i // 30} for i in range(300)})
    dataset = data.load("mnist", holdout=0.2)
    assert set(labels_of(dataset.holdout)) == set(range(10))
    assert set(labels_of(dataset.train)) == set(range(10))


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"holdout": 1.0}, r"holdout must be in \[0, 1\), got 1.0"),
        ({"holdout": -0.1}, "holdout must be"),
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"corrupt_limit": -1}, "corrupt_limit must be at least 0, got -1"),
    ],
)
def test_options_out_of_range_are_errors(option, match):
    with pytest.raises(ValueError, match=match):
        data.load("digits", **option)


def test_small_images_are_those_of_the_set(sets):
    sets.mnist()
    dataset = data.load("mnist", holdout=0.0)
    assert (dataset.num_classes, dataset.image_shape) == (10, (28, 28, 1))
    for index in range(40):
        image, label = dataset.train.example(index)
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, np.full((28, 28, 1), index))
        assert label == index % 10


def test_image_size_resizes_small_images(sets):
    sets.mnist()
    dataset = data.load("mnist", image_size=14)
    assert dataset.image_shape == (14, 14, 1)
    assert dataset.test.example(3).image.shape == (14, 14, 1)


def test_photographs_become_squares(sets):
    sets.imagenette()
    dataset = data.load("imagenette", image_size=24, holdout=0.25)
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (9, 3, 6)
    rng = np.random.default_rng(0)
    for index in range(6):
        plain, label = dataset.test.example(index)
        augmented, _ = dataset.test.example(index, rng)
        assert plain.shape == augmented.shape == dataset.image_shape == (24, 24, 3)
        assert label == index
        np.testing.assert_allclose(plain.astype(int), 10 * index, atol=2)


def test_examples_without_a_generator_are_not_augmented():
    split = data.load("digits").train
    plain = split.example(5).image
    np.testing.assert_array_equal(plain, split.example(5).image)
    rng = np.random.default_rng(0)
    augmented = [split.example(5, rng).image for _ in range(10)]
    assert any(not np.array_equal(plain, image) for image in augmented)


def damage_of(sets, kind):
    """What is wrong with a record, and the reason that should be given."""
    small = sets.encode(np.zeros((5, 5, 1), np.uint8))
    png = sets.encode(np.full((28, 28, 1), 3, np.uint8))
    return {
        "record": (b"not a protocol buffer", "DecodeError"),
        "image": ({"image": b"not an image"}, "UnidentifiedImageError"),
        "empty": ({"image": b""}, "UnidentifiedImageError"),
        "truncated": ({"image": png[: len(png) // 2]}, "Error"),
        "shape": ({"image": small}, r"image shape \(5, 5, 1\) is not \(28, 28, 1\)"),
        "label": ({"label": 10}, r"label 10 is not in \[0, 10\)"),
        "negative": ({"label": -1}, r"label -1 is not in \[0, 10\)"),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    ["record", "image", "empty", "truncated", "shape", "label", "negative"],
)
def test_a_corrupt_small_record_is_found_when_the_set_is_loaded(sets, kind):
    damage, reason = damage_of(sets, kind)
    sets.mnist(damage={7: damage})
    dataset = data.load("mnist", holdout=0.0)
    assert list(dataset.train.corrupt.reasons) == ["mnist train[7]"]
    with pytest.raises(CorruptRecord, match=r"mnist train\[7\].*" + reason):
        dataset.train.example(7)
    assert len(dataset.train.corrupt) == 1
    np.testing.assert_array_equal(dataset.train.example(8).image, 8)


def test_too_many_corrupt_small_records_fail_the_load(sets):
    sets.mnist(damage={i: {"image": b"junk"} for i in (3, 5, 9)})
    assert len(data.load("mnist", corrupt_limit=3).train.corrupt) == 3
    with pytest.raises(ValueError, match=r"corrupt_limit=2 .* mnist train\[9\]"):
        data.load("mnist", corrupt_limit=2)


def test_a_damaged_file_is_an_error_that_names_a_record(sets):
    folder = sets.mnist()
    (folder / "mnist-train.array_record-00000-of-00001").write_bytes(b"")
    with pytest.raises(ValueError, match=r"mnist train\[\d+\]: RuntimeError: Array"):
        data.load("mnist", corrupt_limit=5)


@pytest.mark.parametrize("kind", ["record", "image", "label"])
def test_a_corrupt_photograph_is_found_on_access(sets, kind):
    damage, reason = damage_of(sets, kind)
    sets.imagenette(damage={4: damage}, file_name=tfds.features.Text())
    dataset = data.load("imagenette", image_size=16, holdout=0.0)
    assert len(dataset.train.corrupt) == 0
    with pytest.raises(CorruptRecord, match=reason):
        dataset.train.example(4)
    own = "" if kind == "record" else " (file_name file_name-4)"
    assert list(dataset.train.corrupt.reasons) == [f"imagenette train[4]{own}"]
    assert dataset.test.corrupt is dataset.train.corrupt
