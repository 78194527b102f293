"""Which way up an image is shown.

A phone stores what its sensor has seen, and writes into EXIF how that is turned to be
shown. Boxes are those of the image as it is shown; here they become boxes of the stored
pixels, so that only what is cropped is turned.
"""

import struct

from PIL import ExifTags, Image

from dst_jax.data.transforms import Box

__all__ = ["orientation_of", "shown_size", "stored_box", "turned"]

_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What turns the stored pixels, by the number in EXIF; 1 is upright."""

_SIDEWAYS = (5, 6, 7, 8)
_FROM_THE_RIGHT = (2, 3, 7, 8)
_FROM_BELOW = (3, 4, 6, 7)
_MALFORMED = (SyntaxError, ValueError, TypeError, KeyError, struct.error, EOFError)
"""What Pillow raises for EXIF that is none; the image may be whole nevertheless."""


def orientation_of(image: Image.Image) -> int:
    """The orientation in an image's EXIF, 1 to 8; 1 where there is none.

    >>> orientation_of(Image.new("L", (4, 2)))
    1
    """
    if "exif" not in image.info:
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _MALFORMED:
        return 1
    return found if found in _METHODS else 1


def shown_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an image as it is shown.

    >>> shown_size(Image.new("L", (4, 2)))
    (4, 2)
    """
    width, height = image.size
    sideways = orientation_of(image) in _SIDEWAYS
    return (height, width) if sideways else (width, height)


def stored_box(image: Image.Image, box: Box) -> Box:
    """The box of the stored pixels that a box of the shown image is.

    >>> stored_box(Image.new("L", (4, 2)), (0, 0, 2, 2))
    (0, 0, 2, 2)
    """
    orientation = orientation_of(image)
    left, upper, right, lower = box
    if orientation in _SIDEWAYS:
        left, upper, right, lower = upper, left, lower, right
    if orientation in _FROM_THE_RIGHT:
        left, right = image.width - right, image.width - left
    if orientation in _FROM_BELOW:
        upper, lower = image.height - lower, image.height - upper
    return left, upper, right, lower


def turned(pixels: Image.Image, orientation: int) -> Image.Image:
    """Stored pixels as they are shown; the same object for an upright image.

    >>> turned(Image.new("L", (4, 2)), 6).size
    (2, 4)
    """
    method = _METHODS.get(orientation)
    return pixels if method is None else pixels.transpose(method)
