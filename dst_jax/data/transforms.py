"""Crop boxes of photographs, and the normalisation that runs on the device.

Boxes follow Pillow: `(left, upper, right, lower)` in pixels of the image, the right and
lower edges excluded. Random functions take a `numpy.random.Generator`.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

__all__ = [
    "Box",
    "centre_crop_box",
    "normalise",
    "random_crop_box",
]

Box = tuple[float, float, float, float]

RESIZE_TO_CROP = 256 / 224
"""Evaluation resizes the shorter side to 256 pixels for a crop of 224."""

ATTEMPTS = 10
"""Random boxes tried before the fall-back, as in torchvision."""


def random_crop_box(
    width: int,
    height: int,
    rng: np.random.Generator,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Box:
    """A box of random area and aspect ratio inside an image.

        area  = width * height * U(scale),   log(aspect) = U(log(ratio))

    After ten failed attempts, it is the largest central box of an allowed aspect ratio.

    Args:
      width: width of the image in pixels, at least 1.
      height: height of the image in pixels, at least 1.
      rng: generator of area, aspect ratio and position.
      scale: smallest and largest area, as fractions of the image's.
      ratio: smallest and largest aspect ratio, width / height.

    Returns:
      A box with integer edges, inside `[0, width] x [0, height]`.

    Reference: Szegedy et al. 2015, "Going Deeper with Convolutions", section 6; the
    algorithm is torchvision's RandomResizedCrop.get_params.

    >>> random_crop_box(4, 4, np.random.default_rng(0), scale=(1.0, 1.0))
    (0.0, 0.0, 4.0, 4.0)
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(ATTEMPTS):
        area = width * height * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(low, high))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left = int(rng.integers(width - w + 1))
            top = int(rng.integers(height - h + 1))
            return _box(left, top, w, h)
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return _box((width - w) // 2, (height - h) // 2, w, h)


def centre_crop_box(width: int, height: int, size: int) -> Box:
    """The part of an image that "resize the shorter side, crop the centre" keeps.

    The shorter side would become `round(size * 256 / 224)` pixels, of which the central
    `size x size` are kept: 256 and 224 for ImageNet.

    Args:
      width: width of the image in pixels, at least 1.
      height: height of the image in pixels, at least 1.
      size: side of the crop in pixels, at least 1.

    Returns:
      The kept box in pixels of the original image; its edges may be fractional.

    Reference: torchvision's Resize(256) and CenterCrop(224), their rounding included.

    >>> centre_crop_box(256, 256, 224)
    (16.0, 16.0, 240.0, 240.0)
    """
    shorter = round(size * RESIZE_TO_CROP)
    resized_width = shorter * width // min(width, height)
    resized_height = shorter * height // min(width, height)
    left = round((resized_width - size) / 2)
    top = round((resized_height - size) / 2)
    # Multiplied before divided: an edge at `resized_width` maps to `width` exactly.
    return (
        left * width / resized_width,
        top * height / resized_height,
        (left + size) * width / resized_width,
        (top + size) * height / resized_height,
    )


def normalise(
    image: UInt8[Array, "*batch h w c"],
    mean: Sequence[float],
    std: Sequence[float],
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Float[Array, "*batch h w c"]:
    """`(image / 255 - mean) / std`, for the jitted step.

    Batches travel to the device as uint8, a quarter of the bytes of float32.

    Args:
      image: images, uint8[..., h, w, c].
      mean: mean per channel, length c, on the scale of [0, 1].
      std: standard deviation per channel, length c, positive, on the same scale.
      dtype: dtype of the result; the arithmetic is in float32.

    Returns:
      `dtype`[..., h, w, c].

    Raises:
      ValueError: `mean` or `std` does not have one value per channel.

    >>> normalise(jnp.full((1, 1, 1), 255, jnp.uint8), [0.5], [0.5]).tolist()
    [[[1.0]]]
    """
    channels = image.shape[-1]
    if len(mean) != channels or len(std) != channels:
        raise ValueError(
            f"mean has {len(mean)} and std has {len(std)} values, but the image has "
            f"{channels} channels"
        )
    shape = (1,) * (image.ndim - 1) + (channels,)
    centre = jnp.asarray(mean, jnp.float32).reshape(shape)
    spread = jnp.asarray(std, jnp.float32).reshape(shape)
    return ((image.astype(jnp.float32) / 255 - centre) / spread).astype(dtype)


def _box(left: int, top: int, width: int, height: int) -> Box:
    return float(left), float(top), float(left + width), float(top + height)
