"""Decodes and resizes images with Pillow.

PNG and JPEG are read and no other format: Pillow knows more than forty, some of which
start other programs.
"""

import io
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import UInt8
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from dst_jax.data.transforms import Box

__all__ = ["MAX_PIXELS", "decode", "decode_crop", "resize"]

MAX_PIXELS = 2**26
"""Default limit: such an image takes 0.2 GB in RGB, in every thread that reads."""

_MODES = {1: "L", 3: "RGB"}
# Pillow's own `Image.open` warns of a large image, or refuses it, by limits of the
# whole process; these do not.
_FORMATS = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
}


def decode(
    encoded: bytes, *, channels: int, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of a PNG or JPEG image.

    Of 16 bits per channel the upper 8 are kept. Transparency is left out.

    Args:
      encoded: bytes of the file.
      channels: number of channels, 1 for grey, 3 for RGB; any other colour space is
        converted.
      max_pixels: the largest number of pixels that is decoded.

    Returns:
      uint8[h, w, channels].

    Raises:
      PIL.UnidentifiedImageError: the file is neither PNG nor JPEG.
      ValueError: the image has more than `max_pixels` pixels.

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 2), "white").save(file, "png")
    >>> decode(file.getvalue(), channels=1).shape
    (2, 4, 1)
    """
    with _open(encoded, max_pixels) as image:
        pixels = np.asarray(_converted(image, _MODES[channels]))
    return pixels.reshape(*pixels.shape[:2], channels)


def decode_crop(
    encoded: bytes,
    choose_box: Callable[[int, int], Box],
    *,
    size: int,
    draft: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> UInt8[np.ndarray, "size size 3"]:
    """A box of a PNG or JPEG image, resized to `size x size` in RGB.

    Resizing is bilinear and antialiased. It cuts the box out, so that no time is spent
    on pixels outside it.

    Args:
      encoded: bytes of the file.
      choose_box: function `(width, height) -> box` of the image's size in pixels.
      size: side of the result in pixels.
      draft: Whether JPEG may decode at 1/2, 1/4 or 1/8 of its size where the box still
        has at least `size` pixels a side. This is faster, but gives other pixels: use
        it in training.

    Returns:
      uint8[size, size, 3].

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 2), "white").save(file, "png")
    >>> decode_crop(file.getvalue(), lambda w, h: (0, 0, h, h), size=8).shape
    (8, 8, 3)
    """
    with _open(encoded, max_pixels) as image:
        box = choose_box(*image.size)
        if draft:
            box = _draft(image, box, size)
        resized = _converted(image, "RGB").resize(
            (size, size), Image.Resampling.BILINEAR, box=box
        )
        return np.asarray(resized)


def resize(
    image: UInt8[np.ndarray, "h w c"], size: int
) -> UInt8[np.ndarray, "size size c"]:
    """A whole grey or RGB image resized to `size x size`, bilinear and antialiased.

    >>> resize(np.full((8, 8, 1), 3, np.uint8), 16).shape
    (16, 16, 1)
    """
    if image.shape[:2] == (size, size):
        return image
    channels = image.shape[2]
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    resized = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(size, size, channels)


def _open(encoded: bytes, max_pixels: int) -> Image.Image:
    """The image, of which only the header has been read."""
    for signature, opened in _FORMATS.items():
        if encoded.startswith(signature):
            image = opened(io.BytesIO(encoded))
            break
    else:
        raise UnidentifiedImageError("the image is neither PNG nor JPEG")
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(
            f"image of {width} x {height} pixels has more than max_pixels={max_pixels}"
        )
    return image


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """The image in 8 bits of grey or RGB."""
    image.load()
    # What is transparent keeps its colour, as in modes that have an alpha channel.
    image.info.pop("transparency", None)
    if image.mode.startswith("I"):  # grey of 16 bits, which `convert` would clip
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert(mode)


def _draft(image: Image.Image, box: Box, size: int) -> Box:
    """Asks the decoder for a smaller image; returns `box` in pixels of that image."""
    width, height = image.size
    left, upper, right, lower = box
    smallest = (
        max(1, math.ceil(width * size / (right - left))),
        max(1, math.ceil(height * size / (lower - upper))),
    )
    drafted = image.draft(None, smallest)
    if drafted is None:
        return box
    _, (_, _, new_width, new_height) = drafted
    x, y = new_width / width, new_height / height
    return left * x, upper * y, right * x, lower * y
