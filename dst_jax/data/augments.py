"""Augmentations of uint8 images by name; each takes a `numpy.random.Generator`."""

import copy
import inspect
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from dst_jax import checks

__all__ = [
    "Augment",
    "affine",
    "by_names",
    "check_labels_move",
    "flip",
    "moves_labels",
    "names",
    "pad_crop",
    "together",
]

Augment = Callable[..., np.ndarray]
"""`(image, rng) -> image`; one that also moves label maps has an option `fill`."""

_ROTATION = 10.0
_SCALE = 0.1
_SHIFT = 1 / 14


def pad_crop(
    image: UInt8[np.ndarray, "h w c"],
    rng: np.random.Generator,
    *,
    fill: int | None = None,
) -> UInt8[np.ndarray, "h w c"]:
    """The image, shifted at random by up to an eighth of its sides and padded with 0.

    This is the crop of CIFAR training (32 pixels padded by 4), for any size.

    Args:
      image: image, uint8[h, w, c].
      rng: generator of the two shifts, each uniform in [-side // 8, side // 8].
      fill: label of pixels from outside, where the image is a label map.

    Returns:
      uint8[h, w, c].

    Reference: He et al. 2016, "Deep Residual Learning", section 4.2.

    >>> pad_crop(np.full((8, 8, 1), 7, np.uint8), np.random.default_rng(0)).shape
    (8, 8, 1)
    """
    height, width, channels = image.shape
    pad_y, pad_x = height // 8, width // 8
    shape = (height + 2 * pad_y, width + 2 * pad_x, channels)
    padded = np.full(shape, fill or 0, np.uint8)
    padded[pad_y : pad_y + height, pad_x : pad_x + width] = image
    top = int(rng.integers(2 * pad_y + 1))
    left = int(rng.integers(2 * pad_x + 1))
    return padded[top : top + height, left : left + width]


def flip(
    image: UInt8[np.ndarray, "h w c"],
    rng: np.random.Generator,
    *,
    fill: int | None = None,
) -> UInt8[np.ndarray, "h w c"]:
    """The image, mirrored left to right with probability 1/2.

    Args:
      image: image, uint8[h, w, c].
      rng: generator of the choice.
      fill: label of pixels from outside, of which a mirror image has none.

    >>> image = np.array([[[1], [2]]], np.uint8)
    >>> flip(image, np.random.default_rng(0))[0, :, 0].tolist()
    [1, 2]
    """
    del fill
    return image[:, ::-1] if rng.random() < 0.5 else image


def affine(
    image: UInt8[np.ndarray, "h w c"],
    rng: np.random.Generator,
    *,
    fill: int | None = None,
) -> UInt8[np.ndarray, "h w c"]:
    """The image, slightly rotated, scaled and shifted at random, and padded with 0.

    Rotation is by up to 10 degrees, scaling by up to 10 %, shifts by up to a fourteenth
    of the sides (2 of MNIST's 28 pixels), each uniform; interpolation is bilinear. It
    suits digits, which a mirror would change.

    Args:
      image: grey or RGB image, uint8[h, w, c].
      rng: generator of angle, scale and both shifts.
      fill: label of pixels from outside, where the image is a label map: each pixel of
        the result then has the label of the nearest one.

    Returns:
      uint8[h, w, c].

    >>> affine(np.full((28, 28, 1), 7, np.uint8), np.random.default_rng(0)).shape
    (28, 28, 1)
    """
    height, width, channels = image.shape
    turn, growth, right, down = rng.uniform(-1, 1, 4)
    angle, scale = math.radians(_ROTATION * turn), 1 + _SCALE * growth
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    # Pillow asks where each pixel of the result comes from.
    to_x, to_y = width * (0.5 + _SHIFT * right), height * (0.5 + _SHIFT * down)
    from_x = width / 2 - cos * to_x - sin * to_y
    from_y = height / 2 + sin * to_x - cos * to_y
    picture = Image.fromarray(image[:, :, 0] if channels == 1 else image)
    moved = picture.transform(
        (width, height),
        Image.Transform.AFFINE,
        (cos, sin, from_x, -sin, cos, from_y),
        Image.Resampling.BILINEAR if fill is None else Image.Resampling.NEAREST,
        fillcolor=fill,
    )
    return np.asarray(moved).reshape(image.shape)


_AUGMENTS: dict[str, Augment] = {"pad_crop": pad_crop, "flip": flip, "affine": affine}


def names() -> tuple[str, ...]:
    """The augmentations that `by_names` knows.

    >>> names()
    ('pad_crop', 'flip', 'affine')
    """
    return tuple(_AUGMENTS)


def by_names(wanted: Sequence[str]) -> tuple[Augment, ...]:
    """Augmentations by their names, in the same order.

    Raises:
      ValueError: there is none of a name.

    >>> [augment.__name__ for augment in by_names(["affine"])]
    ['affine']
    """
    for name in wanted:
        if name not in _AUGMENTS:
            raise ValueError(
                f"augment {name!r} is not one of: {', '.join(names())}"
                f"{checks.suggestion(name, _AUGMENTS)}"
            )
    return tuple(_AUGMENTS[name] for name in wanted)


def moves_labels(augment: Augment) -> bool:
    """Whether an augmentation also moves label maps: it has an option `fill`.

    >>> moves_labels(flip), moves_labels(lambda image, rng: image)
    (True, False)
    """
    return "fill" in inspect.signature(augment).parameters


def check_labels_move(augments: Sequence[Augment]) -> None:
    """Refuses augmentations that would move an image away from its label map.

    Raises:
      ValueError: one has no option `fill`.

    >>> check_labels_move([lambda image, rng: image])
    Traceback (most recent call last):
    ValueError: augment must move images and label maps together, by an option `fill`...
    """
    for augment in augments:
        if not moves_labels(augment):
            raise ValueError(
                "augment must move images and label maps together, by an option"
                f" `fill`, got {augment!r}"
            )


def together(
    augments: Sequence[Augment],
    image: UInt8[np.ndarray, "h w c"],
    labels: UInt8[np.ndarray, "h w"],
    rng: np.random.Generator,
    *,
    fill: int,
) -> tuple[UInt8[np.ndarray, "h w c"], UInt8[np.ndarray, "h w"]]:
    """An image and its label map, moved alike: both see the same random numbers.

    Args:
      augments: augmentations that move labels, applied in order.
      image: image, uint8[h, w, c].
      labels: label of each pixel, uint8[h, w].
      rng: generator, as each augmentation takes it.
      fill: label of pixels from outside the image.

    >>> image, rng = np.array([[[1], [2]]], np.uint8), np.random.default_rng(2)
    >>> moved, labels = together([flip], image, image[:, :, 0], rng, fill=255)
    >>> moved[0, :, 0].tolist(), labels[0].tolist()
    ([2, 1], [2, 1])
    """
    for augment in augments:
        same = copy.deepcopy(rng)
        image = augment(image, rng)
        labels = augment(labels[:, :, None], same, fill=fill)[:, :, 0]
    return image, labels
