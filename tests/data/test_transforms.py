import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dst_jax.data.transforms import (
    centre_crop_box,
    normalise,
    random_crop_box,
)

SIDE = st.integers(1, 40)
SEED = st.integers(0, 2**32 - 1)
IMAGES = hnp.arrays(np.uint8, st.tuples(SIDE, SIDE, st.sampled_from([1, 3])))


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000), SEED)
def test_random_crop_box_is_inside_and_has_whole_edges(width, height, seed):
    box = random_crop_box(width, height, np.random.default_rng(seed))
    left, top, right, bottom = box
    assert all(edge.is_integer() for edge in box)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


@settings(deadline=None)
@given(st.integers(200, 800), st.integers(200, 800), SEED)
def test_random_crop_box_respects_scale_and_ratio(width, height, seed):
    left, top, right, bottom = random_crop_box(
        width, height, np.random.default_rng(seed)
    )
    w, h = right - left, bottom - top
    # Edges are rounded to whole pixels, at most 1/2 of at least 48.
    assert math.isclose(np.clip(w / h, 3 / 4, 4 / 3), w / h, rel_tol=0.03)
    if width / 4 * 3 <= height <= width / 3 * 4:
        assert w * h / (width * height) >= 0.08 * 0.97


def test_random_crop_box_areas_are_uniform():
    rng = np.random.default_rng(0)
    areas = []
    for _ in range(4000):
        left, top, right, bottom = random_crop_box(
            1000, 1000, rng, scale=(0.1, 0.5), ratio=(1.0, 1.0)
        )
        areas.append((right - left) * (bottom - top) / 1e6)
    counts, _ = np.histogram(areas, bins=8, range=(0.1, 0.5))
    assert counts.sum() == pytest.approx(4000, abs=5)  # a few round out of range
    assert counts.min() > 400
    assert counts.max() < 600


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(100, 10, (43, 0, 56, 10)), (10, 100, (0, 43, 10, 56)), (9, 9, (0, 0, 9, 9))],
)
def test_random_crop_box_falls_back_to_the_largest_allowed(width, height, expected):
    # Boxes of more than the whole area never fit, so every attempt fails.
    box = random_crop_box(width, height, np.random.default_rng(0), scale=(20.0, 30.0))
    assert box == expected


@settings(deadline=None)
@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 300))
def test_centre_crop_box_is_central_and_inside(width, height, size):
    left, top, right, bottom = centre_crop_box(width, height, size)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    resized = round(size * 256 / 224)
    pixel = min(width, height) / resized
    assert abs(left + right - width) <= 1.01 * pixel * 2
    assert abs(top + bottom - height) <= 1.01 * pixel * 2
    short = right - left if width <= height else bottom - top
    assert short == pytest.approx(size * pixel)


def test_normalise_equals_numpy():
    image = np.arange(3 * 256, dtype=np.uint8).reshape(2, 8, 16, 3)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = (image.astype(np.float64) / 255 - np.array(mean)) / np.array(std)
    result = jax.jit(lambda x: normalise(x, mean, std))(image)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_normalise_rounds_once_to_the_dtype_asked_for():
    image = jnp.arange(256, dtype=jnp.uint8).reshape(16, 16, 1)
    half = normalise(image, [0.5], [0.25], jnp.bfloat16)
    assert half.dtype == jnp.bfloat16
    expected = normalise(image, [0.5], [0.25]).astype(jnp.bfloat16)
    np.testing.assert_array_equal(half, expected)


def test_normalise_needs_a_value_per_channel():
    image = jnp.zeros((2, 2, 3), jnp.uint8)
    with pytest.raises(ValueError, match=r"mean has 1 and std has 3 values.* 3 chan"):
        normalise(image, [0.5], [0.2, 0.2, 0.2])
