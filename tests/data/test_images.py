import io
import struct
import zlib
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError

from dst_jax.data.images import decode, decode_crop, resize
from dst_jax.data.transforms import centre_crop_box


def smooth(width, height):
    y, x = np.mgrid[:height, :width]
    waves = [128 + 100 * np.sin(x / 9 + y / (7 + c)) for c in range(3)]
    return Image.fromarray(np.stack(waves, -1).astype(np.uint8))


def as_bytes(image, kind="PNG"):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def whole(width, height):
    return 0.0, 0.0, float(width), float(height)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3]))
def test_decode_inverts_png(seed, channels):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 7, channels), np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
    np.testing.assert_array_equal(decode(as_bytes(image), channels=channels), pixels)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "1"])
def test_other_colour_spaces_become_rgb(mode):
    image = smooth(20, 10).convert(mode)
    pixels = decode(as_bytes(image), channels=3)
    np.testing.assert_array_equal(pixels, np.asarray(image.convert("RGB")))
    cropped = decode_crop(as_bytes(image), whole, size=8)
    assert cropped.shape == (8, 8, 3)


def png(depth, colour, samples, extra=b""):
    """A PNG file of one pixel, as the specification has it.

    `samples` are the bytes of the pixel; `extra` are chunks before it.
    """
    header = struct.pack(">IIBBBBB", 1, 1, depth, colour, 0, 0, 0)
    body = (
        chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(b"\0" + samples))
    )
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def chunk(kind, content):
    checked = kind + content
    size, digest = struct.pack(">I", len(content)), zlib.crc32(checked)
    return size + checked + struct.pack(">I", digest)


PALETTE = chunk(b"PLTE", bytes([1, 2, 3, 64, 128, 255]))
GREY_64, RGB_64 = [64] * 3, [64, 128, 255]


@pytest.mark.parametrize(
    ("encoded", "pixel"),
    [
        (png(1, 0, b"\x80"), [255] * 3),
        (png(2, 0, b"\x40"), [85] * 3),
        (png(4, 0, b"\x40"), [68] * 3),
        (png(8, 0, b"\x40"), GREY_64),
        (png(8, 0, b"\x40", chunk(b"tRNS", b"\0\x40")), GREY_64),
        (png(16, 0, b"\x40\0"), GREY_64),
        (png(16, 0, b"\x40\xff"), GREY_64),
        (png(16, 0, b"\x40\0", chunk(b"tRNS", b"\x40\0")), GREY_64),
        (png(8, 4, b"\x40\x80"), GREY_64),
        (png(16, 4, b"\x40\0\x80\0"), GREY_64),
        (png(8, 2, bytes(RGB_64)), RGB_64),
        (png(8, 2, bytes(RGB_64), chunk(b"tRNS", b"\0\x40\0\x80\0\xff")), RGB_64),
        (png(16, 2, b"\x40\0\x80\0\xff\xff"), RGB_64),
        (png(8, 6, bytes([*RGB_64, 0])), RGB_64),
        (png(16, 6, b"\x40\0\x80\0\xff\xff\0\0"), RGB_64),
        (png(8, 3, b"\x01", PALETTE), RGB_64),
        (png(1, 3, b"\x80", PALETTE), RGB_64),
        (png(8, 3, b"\x01", PALETTE + chunk(b"tRNS", b"\x80\x40")), RGB_64),
    ],
)
def test_a_pixel_of_any_kind_of_png(encoded, pixel):
    assert decode(encoded, channels=3)[0, 0].tolist() == pixel
    assert decode_crop(encoded, whole, size=1)[0, 0].tolist() == pixel
    if len(set(pixel)) == 1:
        assert decode(encoded, channels=1)[0, 0].tolist() == pixel[:1]


@pytest.mark.parametrize("kind", ["BMP", "EPS", "GIF", "ICNS", "PPM", "TIFF", "WEBP"])
def test_other_formats_are_not_opened(kind):
    encoded = as_bytes(smooth(20, 10), kind)
    crop = partial(decode_crop, choose_box=whole, size=8)
    for read in (partial(decode, channels=3), crop):
        with pytest.raises(UnidentifiedImageError, match="neither PNG nor JPEG"):
            read(encoded)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_image_is_not_decoded(kind, monkeypatch):
    encoded = as_bytes(smooth(20, 10), kind)
    assert decode(encoded, channels=1, max_pixels=200).shape == (10, 20, 1)
    monkeypatch.setattr(Image.Image, "load", None)
    message = "image of 20 x 10 pixels has more than max_pixels=199"
    with pytest.raises(ValueError, match=message):
        decode(encoded, channels=1, max_pixels=199)
    with pytest.raises(ValueError, match=message):
        decode_crop(encoded, whole, size=8, draft=True, max_pixels=199)


@pytest.mark.parametrize("side", [12_000, 20_000])
def test_a_bomb_is_refused_without_a_warning(side):
    """Pillow warns of the first and refuses the second, by limits of its own."""
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")
    with pytest.raises(ValueError, match=f"image of {side} x {side} pixels"):
        decode(bomb, channels=1)


def test_grey_and_cmyk_jpegs_become_rgb():
    for mode in ("L", "CMYK"):
        encoded = as_bytes(smooth(64, 48).convert(mode), "JPEG")
        for draft in (False, True):
            assert decode_crop(encoded, whole, size=8, draft=draft).shape == (8, 8, 3)


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 300), st.integers(20, 300), st.integers(8, 64))
def test_centre_crop_equals_resize_then_crop(width, height, size):
    image = smooth(width, height)
    short = round(size * 256 / 224)
    new = (short * width // min(image.size), short * height // min(image.size))
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    expected = image.resize(new, Image.Resampling.BILINEAR).crop(
        (left, top, left + size, top + size)
    )

    def box(width, height):
        return centre_crop_box(width, height, size)

    result = decode_crop(as_bytes(image), box, size=size).astype(int)
    difference = np.abs(result - np.asarray(expected).astype(int))
    # Pillow rounds in each of its two passes. A pixel's shift is 10 levels and more.
    assert difference.max() <= 2
    assert difference.mean() < 0.5


def test_a_box_is_cut_out():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10:20, 20:30] = 200

    def box(width, height):
        return 20.0, 10.0, 30.0, 20.0

    encoded = as_bytes(Image.fromarray(pixels))
    np.testing.assert_array_equal(decode_crop(encoded, box, size=10), 200)


@settings(max_examples=30, deadline=None)
@given(st.integers(100, 600), st.integers(100, 600), st.floats(0, 1), st.floats(0, 1))
def test_draft_gives_nearly_the_same_pixels(width, height, x, y):
    ramp = np.zeros((height, width, 3), np.uint8)
    ramp[:, :, 0] = np.linspace(0, 255, width)
    ramp[:, :, 1] = np.linspace(0, 255, height)[:, None]
    encoded = as_bytes(Image.fromarray(ramp), "JPEG")

    def box(width, height):
        w, h = max(20, width // 2), max(20, height // 2)
        left, top = int(x * (width - w)), int(y * (height - h))
        return float(left), float(top), float(left + w), float(top + h)

    full = decode_crop(encoded, box, size=16).astype(int)
    fast = decode_crop(encoded, box, size=16, draft=True).astype(int)
    # A box misplaced by one pixel of the result is off by 255 / 32 levels.
    assert np.abs(full - fast).mean() < 1


def test_draft_decodes_fewer_pixels(monkeypatch):
    sizes = []
    convert = Image.Image.convert

    def record(image, *args):
        sizes.append(image.size)
        return convert(image, *args)

    monkeypatch.setattr(Image.Image, "convert", record)
    encoded = as_bytes(smooth(640, 480), "JPEG")
    for size in (64, 120, 121, 480):
        decode_crop(encoded, whole, size=size, draft=True)
    assert sizes == [(160, 120), (160, 120), (320, 240), (640, 480)]


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_keeps_flat_images_flat(channels):
    image = np.full((8, 8, channels), 77, np.uint8)
    result = resize(image, 20)
    assert result.shape == (20, 20, channels)
    np.testing.assert_array_equal(result, 77)


def test_resize_halves_by_averaging():
    image = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4), np.ones((8, 8)))
    result = resize(image.astype(np.uint8)[..., None], 4)
    np.testing.assert_allclose(result[:, :, 0], image[4::8, 4::8], atol=1)
