"""Photographs are read as they are shown, whichever way the camera was held."""

import io

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from dst_jax import data
from dst_jax.data.images import decode, decode_crop, decode_pair, header
from dst_jax.data.transforms import centre_crop_box

EVERY = range(1, 9)


def pattern(width=24, height=16):
    """An image that no turn leaves as it is."""
    y, x = np.mgrid[:height, :width]
    red, green = 10 * x, 15 * y
    return Image.fromarray(np.stack([red, green, red // 2], -1).astype(np.uint8))


def stored(orientation, *, kind="PNG", image=None, exif=None):
    """The bytes of a file whose camera has written an orientation."""
    written = Image.Exif()
    written[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    (pattern() if image is None else image).save(
        file, kind, exif=written.tobytes() if exif is None else exif
    )
    return file.getvalue()


def shown(encoded):
    """As Pillow turns the whole image."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", EVERY)
def test_a_whole_image_is_upright(orientation, kind):
    encoded = stored(orientation, kind=kind)
    image = shown(encoded)
    np.testing.assert_array_equal(decode(encoded, channels=3), np.asarray(image))
    assert header(encoded)[:2] == image.size


@pytest.mark.parametrize("orientation", EVERY)
def test_a_box_is_one_of_the_shown_image(orientation):
    encoded = stored(orientation)
    box = (1, 2, 9, 10)
    found = decode_crop(encoded, lambda w, h: box, size=8)
    np.testing.assert_array_equal(found, np.asarray(shown(encoded).crop(box)))


@pytest.mark.parametrize("draft", [False, True])
@pytest.mark.parametrize("orientation", EVERY)
def test_a_resized_crop_is_that_of_the_shown_image(orientation, draft):
    large = pattern().resize((240, 160), Image.Resampling.BILINEAR)
    encoded = stored(orientation, kind="JPEG", image=large)
    choose = lambda w, h: centre_crop_box(w, h, size=32)  # noqa: E731
    found = decode_crop(encoded, choose, size=32, draft=draft)
    whole = shown(encoded)
    expected = whole.resize(
        (32, 32), Image.Resampling.BILINEAR, box=choose(*whole.size)
    )
    apart = np.abs(found.astype(int) - np.asarray(expected).astype(int))
    assert apart.max() <= (4 if draft else 1)


@pytest.mark.parametrize("orientation", EVERY)
def test_a_label_map_is_of_the_shown_image(orientation):
    encoded = stored(orientation)
    labels = np.asarray(shown(encoded))[..., 0] // 10
    file = io.BytesIO()
    Image.fromarray(labels).save(file, "PNG")
    size = labels.shape[0]
    image, found = decode_pair(
        encoded, file.getvalue(), lambda w, h: (0, 0, min(w, h), min(w, h)), size=16
    )
    np.testing.assert_array_equal(found, labels[:16, :16])
    np.testing.assert_array_equal(image[..., 0] // 10, found)
    assert size in (16, 24)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM", b"Exif\0\0notiff\0\0\0\0"]
)
def test_an_image_with_malformed_exif_is_taken_as_it_is(exif):
    encoded = stored(1, kind="JPEG", exif=exif)
    assert decode(encoded, channels=3).shape == (16, 24, 3)


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_an_orientation_that_is_none_is_left_out(orientation):
    assert header(stored(orientation))[:2] == (24, 16)


def test_a_folder_of_a_phone_is_upright(tmp_path):
    upright = pattern(80, 120)
    sideways = upright.transpose(Image.Transpose.ROTATE_90)
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(5):
            encoded = stored(6, kind="JPEG", image=sideways)
            (tmp_path / label / f"{i}.jpg").write_bytes(encoded)
    found = data.load(f"folder:{tmp_path}", image_size=64)
    image = found.test.example(0).image.astype(int)
    assert image[..., 0].std(axis=1).mean() > image[..., 0].std(axis=0).mean()
    box = centre_crop_box(80, 120, size=64)
    expected = shown(encoded).resize((64, 64), Image.Resampling.BILINEAR, box=box)
    assert np.abs(image - np.asarray(expected)).max() <= 1
