"""Decodes and resizes images with Pillow.

PNG and JPEG are read and no other format: Pillow knows more than forty, some of which
start other programs. Width, height and boxes are those of the image as it is shown.
"""

import io
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError

from dst_jax.data.orientation import orientation_of, shown_size, stored_box, turned
from dst_jax.data.transforms import Box

__all__ = [
    "MAX_PIXELS",
    "Header",
    "decode",
    "decode_crop",
    "decode_pair",
    "header",
    "resize",
]

MAX_PIXELS = 2**26
"""Default limit: such an image takes 0.2 GB in RGB, in every thread that reads."""

_MODES = {1: "L", 3: "RGB"}
_STRETCHED = {"L;2": 85, "L;4": 17}
# Pillow's own `Image.open` warns of a large image, or refuses it, by limits of the
# whole process; these do not.
_FORMATS = {
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"\xff\xd8\xff": JpegImagePlugin.JpegImageFile,
}


class Header(NamedTuple):
    """What is known of an image before it is decoded.

    Attributes:
      width: width in pixels.
      height: height in pixels.
      grey: whether it has no colours.
    """

    width: int
    height: int
    grey: bool


def header(encoded: bytes | np.ndarray) -> Header:
    """The size of an image, and whether it is grey; no pixels are decoded.

    Args:
      encoded: bytes of a PNG or JPEG file, or pixels, as in `decode`.

    Raises:
      PIL.UnidentifiedImageError: the file is neither PNG nor JPEG.
      ValueError: what is no file is no array of pixels either.

    >>> header(np.zeros((2, 4, 3), np.uint8))
    Header(width=4, height=2, grey=False)
    """
    with _opened(encoded) as image:
        grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
        return Header(*shown_size(image), grey)


def decode(
    encoded: bytes | np.ndarray, *, channels: int, max_pixels: int = MAX_PIXELS
) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of a PNG or JPEG image.

    Of 16 bits per channel the upper 8 are kept. Transparency is left out.

    Args:
      encoded: bytes of the file; or pixels that are decoded already, uint8[h, w] or
        uint8[h, w, c] with 1, 3 or 4 channels.
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
        pixels = np.asarray(
            turned(_converted(image, _MODES[channels]), orientation_of(image))
        )
    return pixels.reshape(*pixels.shape[:2], channels)


def decode_crop(
    encoded: bytes | np.ndarray,
    choose_box: Callable[[int, int], Box],
    *,
    size: int,
    channels: int = 3,
    draft: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> UInt8[np.ndarray, "size size c"]:
    """A box of a PNG or JPEG image, resized to `size x size`.

    Resizing is bilinear and antialiased. It cuts the box out, so that no time is spent
    on pixels outside it.

    Args:
      encoded: bytes of the file, or pixels, as in `decode`.
      choose_box: function `(width, height) -> box` of the image's size in pixels.
      size: side of the result in pixels.
      channels: number of channels, 1 for grey, 3 for RGB.
      draft: Whether JPEG may decode at 1/2, 1/4 or 1/8 of its size where the box still
        has at least `size` pixels a side. This is faster, but gives other pixels: use
        it in training.

    Returns:
      uint8[size, size, channels].

    >>> file = io.BytesIO()
    >>> Image.new("RGB", (4, 2), "white").save(file, "png")
    >>> decode_crop(file.getvalue(), lambda w, h: (0, 0, h, h), size=8).shape
    (8, 8, 3)
    """
    with _open(encoded, max_pixels) as image:
        box = choose_box(*shown_size(image))
        return _cropped(image, box, size, _MODES[channels], draft=draft)


def decode_pair(
    encoded: bytes,
    encoded_labels: bytes,
    choose_box: Callable[[int, int], Box],
    *,
    size: int,
    channels: int = 3,
    draft: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> tuple[UInt8[np.ndarray, "size size c"], Integer[np.ndarray, "size size"]]:
    """A box of an image and of its label map, both resized to `size x size`.

    The image is resized as by `decode_crop`. Each pixel has the label of the nearest
    one of the map: the grey value or the index in the palette, of 1 to 16 bits.

    Args:
      encoded: bytes of the image, PNG or JPEG.
      encoded_labels: bytes of the label map, PNG.
      choose_box: function `(width, height) -> box` of the image's size in pixels.
      size: side of the results in pixels.
      channels: number of channels of the image, 1 for grey, 3 for RGB.
      draft: Whether JPEG may decode at a smaller size, as in `decode_crop`.
      max_pixels: the largest number of pixels that is decoded.

    Raises:
      PIL.UnidentifiedImageError: a file is neither PNG nor JPEG.
      ValueError: the label map has another size than the image, or is no PNG of one
        channel; or there are more than `max_pixels` pixels.

    >>> files = io.BytesIO(), io.BytesIO()
    >>> for file, mode in zip(files, ("RGB", "L")):
    ...     Image.new(mode, (4, 2), 3 if mode == "L" else "white").save(file, "png")
    >>> image, labels = decode_pair(
    ...     *(file.getvalue() for file in files), lambda w, h: (0, 0, w, h), size=8)
    >>> image.shape, labels.shape, labels[0, 0].item()
    ((8, 8, 3), (8, 8), 3)
    """
    with _open(encoded, max_pixels) as image, _open(encoded_labels, max_pixels) as own:
        (width, height), (own_width, own_height) = shown_size(image), shown_size(own)
        if (own_width, own_height) != (width, height):
            raise ValueError(
                f"label map of {own_width} x {own_height} pixels is not of the size of"
                f" its image, {width} x {height}"
            )
        box = choose_box(width, height)
        labels = _cropped_labels(own, box, size)
        return _cropped(image, box, size, _MODES[channels], draft=draft), labels


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


def _open(encoded: bytes | np.ndarray, max_pixels: int) -> Image.Image:
    """The image, of which only the header has been read."""
    image = _opened(encoded)
    width, height = image.size
    if width * height > max_pixels:
        raise ValueError(
            f"image of {width} x {height} pixels has more than max_pixels={max_pixels}"
        )
    return image


def _opened(encoded: bytes | np.ndarray) -> Image.Image:
    if isinstance(encoded, np.ndarray):
        return _of_pixels(encoded)
    for signature, opened in _FORMATS.items():
        if encoded.startswith(signature):
            return opened(io.BytesIO(encoded))
    raise UnidentifiedImageError("the image is neither PNG nor JPEG")


def _of_pixels(pixels: np.ndarray) -> Image.Image:
    shape = pixels.shape
    colours = shape[2:] in ((), (1,), (3,), (4,))
    if pixels.dtype != np.uint8 or not 2 <= len(shape) <= 3 or not colours:
        raise ValueError(
            "pixels must be uint8 of shape (height, width) or (height, width, 1, 3 or"
            f" 4 channels), got {pixels.dtype} of shape {shape}"
        )
    if 0 in shape:
        raise ValueError(f"pixels must not be empty, got shape {shape}")
    return Image.fromarray(pixels[:, :, 0] if shape[2:] == (1,) else pixels)


def _cropped(
    image: Image.Image, box: Box, size: int, mode: str, *, draft: bool
) -> np.ndarray:
    """A box of an image in 8 bits of grey or RGB, with an axis of channels."""
    orientation = orientation_of(image)
    box = stored_box(image, box)
    if draft:
        box = _draft(image, box, size)
    resized = _converted(image, mode).resize(
        (size, size), Image.Resampling.BILINEAR, box=box
    )
    return np.asarray(turned(resized, orientation)).reshape(size, size, -1)


def _cropped_labels(labels: Image.Image, box: Box, size: int) -> np.ndarray:
    """A box of a label map."""
    grey = labels.mode in ("1", "L", "P") or labels.mode.startswith("I")
    if not grey or not isinstance(labels, PngImagePlugin.PngImageFile):
        raise ValueError(
            "a label map must be a PNG of one channel, got"
            f" {labels.format} of mode {labels.mode}"
        )
    # Pillow stretches grey of 2 and 4 bits to 0..255.
    step = _STRETCHED.get(str(labels.tile[0][3]), 1)
    box, orientation = stored_box(labels, box), orientation_of(labels)
    resized = labels.resize((size, size), Image.Resampling.NEAREST, box=box)
    return np.asarray(turned(resized, orientation)).astype(np.int32) // step


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
