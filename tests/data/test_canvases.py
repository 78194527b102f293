"""Digits on canvases: what is drawn, and how it is fed."""

from itertools import islice

import numpy as np
import pytest

from dst_jax import data
from dst_jax.data.canvases import BACKGROUND, compose
from dst_jax.data.corrupt import CorruptLog, CorruptRecord
from dst_jax.data.recipes import recipe_of
from dst_jax.data.records import DecodedRecords

RECIPE = recipe_of("digits_canvas")


@pytest.fixture(scope="module")
def dataset():
    return data.load("digits_canvas", image_size=32)


def test_the_default_needs_no_download(dataset):
    assert (len(dataset.train), len(dataset.holdout), len(dataset.test)) == (
        1080,
        120,
        400,
    )
    assert (dataset.num_classes, dataset.ignore) == (11, None)
    assert dataset.image_shape == (32, 32, 1)
    labels = np.stack([dataset.test.example(i).label for i in range(400)])
    assert (labels.shape, labels.dtype) == ((400, 32, 32), np.uint8)
    assert sorted(set(labels.ravel().tolist())) == list(range(11))


def test_a_canvas_is_the_same_in_every_process(dataset):
    again = data.load("digits_canvas", image_size=32)
    assert data.fingerprint(again) == data.fingerprint(dataset)
    other = data.load("digits_canvas", image_size=16)
    assert data.fingerprint(other)["pixels"] != data.fingerprint(dataset)["pixels"]


def bars(n, label=7):
    """Digits that are a white bar, all of the same class."""
    images = np.zeros((n, 8, 8, 1), np.uint8)
    images[:, :, 2:6] = 255
    return DecodedRecords(images, np.full(n, label, np.int32), (), {})


def test_labels_are_where_the_ink_is():
    drawn = compose(
        bars(5), None, recipe=RECIPE, n=20, size=32, log=CorruptLog(0), seed=0
    )
    for i in range(20):
        image, label = drawn.example(i)
        assert set(np.unique(label)) == {7, BACKGROUND}
        assert image[:, :, 0][label == 7].min() >= 64  # half of the darkest colour
        assert image[:, :, 0][label != 7].max() < 128
        columns = (label == 7).any(0).sum()
        assert 4 <= columns <= 5 * 8


def test_the_ink_is_blended_with_photographs():
    grey = DecodedRecords(
        np.full((3, 32, 32, 3), 10, np.uint8), np.zeros(3, np.int32), (), {}
    )
    recipe = recipe_of("digits_photographs")
    drawn = compose(
        bars(5), grey, recipe=recipe, n=4, size=32, log=CorruptLog(0), seed=0
    )
    for i in range(4):
        image, label = drawn.example(i)
        assert image.shape == (32, 32, 3)
        far = image[label == BACKGROUND]
        assert np.median(far) == 10
        assert image[label == 7].min() > 60


def test_corrupt_digits_are_left_out_and_counted():
    digits = bars(3)
    broken = DecodedRecords(
        digits.images, digits.labels, (), {1: CorruptRecord("digits[1]", "torn")}
    )
    log = CorruptLog(1)
    compose(broken, None, recipe=RECIPE, n=5, size=16, log=log, seed=0)
    assert list(log.reasons) == ["digits[1]"]
    none = DecodedRecords(
        digits.images,
        digits.labels,
        (),
        {i: CorruptRecord("d", "torn") for i in range(3)},
    )
    with pytest.raises(ValueError, match="no record is readable"):
        compose(none, None, recipe=RECIPE, n=5, size=16, log=CorruptLog(9), seed=0)


@pytest.mark.slow
def test_mnist_and_photographs_are_used_where_they_are_prepared(sets):
    with pytest.raises(FileNotFoundError, match="'mnist' is not prepared"):
        data.load("mnist_photographs")
    sets.mnist()
    with pytest.raises(FileNotFoundError, match="'imagenette' is not prepared"):
        data.load("mnist_photographs")
    sets.imagenette()
    dataset = data.load("mnist_photographs", image_size=8)
    assert len(dataset.train) + len(dataset.holdout) == 4000
    assert dataset.train.example(0).label.shape == (8, 8)


@pytest.mark.parametrize("count", [1, 2])
def test_processes_share_every_batch_of_label_maps(dataset, count):
    def take(**options):
        found = data.train_iterator(dataset.train, batch_size=8, seed=3, **options)
        return list(islice(found, 6))

    whole = take()
    parts = [take(process_index=i, process_count=count) for i in range(count)]
    for k, batch in enumerate(whole):
        for name in ("image", "label"):
            joined = np.concatenate([part[k][name] for part in parts])
            np.testing.assert_array_equal(joined, batch[name])
    assert (whole[0]["label"].shape, whole[0]["label"].dtype) == ((8, 32, 32), np.int32)
    later = take(start=4)
    np.testing.assert_array_equal(later[0]["label"], whole[4]["label"])


def test_evaluation_batches_hold_label_maps(dataset):
    batches = list(data.eval_batches(dataset.test, batch_size=128))
    labels = np.concatenate([batch.label for batch in batches])
    assert (labels.shape, labels.dtype) == ((400, 32, 32), np.int32)
    np.testing.assert_array_equal(labels[7], dataset.test.example(7).label)


def test_training_moves_image_and_labels_together(dataset):
    """Ink stays where its label is, whatever the shift."""
    rng = np.random.default_rng(0)
    moved = 0
    for i in range(20):
        image, label = dataset.train.example(i, rng)
        plain, _ = dataset.train.example(i)
        moved += not np.array_equal(image, plain)
        ink = label != BACKGROUND
        assert image[:, :, 0][ink].min() >= 64
    assert moved > 10
