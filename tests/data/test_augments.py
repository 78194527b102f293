import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax import data
from dst_jax.data.augments import affine, by_names, flip, names, pad_crop

SIDE = st.integers(1, 40)
SEED = st.integers(0, 2**32 - 1)
IMAGES = hnp.arrays(np.uint8, st.tuples(SIDE, SIDE, st.sampled_from([1, 3])))


@settings(deadline=None)
@given(IMAGES, SEED)
def test_pad_crop_is_a_window_of_the_padded_image(image, seed):
    height, width, _ = image.shape
    y, x = height // 8, width // 8
    padded = np.pad(image, ((y, y), (x, x), (0, 0)))
    windows = [
        padded[top : top + height, left : left + width]
        for top in range(2 * y + 1)
        for left in range(2 * x + 1)
    ]
    result = pad_crop(image, np.random.default_rng(seed))
    assert result.dtype == np.uint8
    assert any(np.array_equal(result, window) for window in windows)


def test_pad_crop_shifts_cifar_by_up_to_four_pixels():
    image = np.zeros((32, 32, 3), np.uint8)
    image[16, 16] = 1
    rng = np.random.default_rng(0)
    shifts = set()
    for _ in range(2000):
        row, column, _ = np.argwhere(pad_crop(image, rng))[0]
        shifts.add((int(row) - 16, int(column) - 16))
    assert shifts == {(y, x) for y in range(-4, 5) for x in range(-4, 5)}


@settings(deadline=None)
@given(IMAGES, SEED)
def test_flip_mirrors_columns_or_does_nothing(image, seed):
    result = flip(image, np.random.default_rng(seed))
    mirrored = np.flip(image, axis=1)
    assert np.array_equal(result, image) or np.array_equal(result, mirrored)


def test_flip_is_fair():
    image = np.array([[[0], [1]]], np.uint8)
    rng = np.random.default_rng(0)
    flipped = sum(int(flip(image, rng)[0, 0, 0]) for _ in range(1000))
    assert 450 < flipped < 550


@settings(deadline=None)
@given(IMAGES, SEED)
def test_affine_keeps_shape_type_and_range(image, seed):
    result = affine(image, np.random.default_rng(seed))
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert result.max() <= image.max()


@settings(deadline=None)
@given(SEED)
def test_affine_moves_a_spot_where_the_drawn_transform_says(seed):
    image = np.zeros((28, 28, 1), np.uint8)
    image[5:8, 17:20] = 255  # its centre: 18.5 across, 6.5 down
    turn, growth, right, down = np.random.default_rng(seed).uniform(-1, 1, 4)
    angle, scale = math.radians(10 * turn), 1 + 0.1 * growth
    x, y = 18.5 - 14, 6.5 - 14
    expected = (
        14 + 2 * right + scale * (math.cos(angle) * x - math.sin(angle) * y),
        14 + 2 * down + scale * (math.sin(angle) * x + math.cos(angle) * y),
    )
    moved = affine(image, np.random.default_rng(seed))[:, :, 0].astype(float)
    down_by, right_by = np.indices(moved.shape) + 0.5
    centre = [(moved * at).sum() / moved.sum() for at in (right_by, down_by)]
    np.testing.assert_allclose(centre, expected, atol=0.1)


def test_training_images_are_augmented_as_asked():
    plain = data.load("digits", augment=()).train
    turned = data.load("digits", augment=("affine",)).train
    still, _ = plain.example(5, np.random.default_rng(0))
    moved, _ = turned.example(5, np.random.default_rng(0))
    assert np.array_equal(still, plain.example(5)[0])
    assert np.array_equal(moved, affine(still, np.random.default_rng(0)))
    assert not np.array_equal(moved, still)


def test_an_unknown_augmentation_lists_the_known():
    with pytest.raises(ValueError, match="'mirror' is not one of: pad_crop, flip"):
        data.load("digits", augment=("mirror",))
    with pytest.raises(ValueError, match="did you mean 'affine'"):
        data.load("digits", augment=("afine",))
    assert by_names(names()) == (pad_crop, flip, affine)
