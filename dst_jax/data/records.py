"""Labelled images of one split by index, decoded once or on every access."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32, UInt8

from dst_jax.data import images
from dst_jax.data.augments import Augment, check_labels_move, together
from dst_jax.data.corrupt import CorruptLog, CorruptRecord, reading
from dst_jax.data.recipe import Recipe
from dst_jax.data.source import Source, read_chunk, read_record, record_key
from dst_jax.data.transforms import centre_crop_box, random_crop_box

__all__ = [
    "DecodedRecords",
    "EncodedRecords",
    "Example",
    "Records",
    "decode_all",
]

_CHUNK = 1000
"""Records per read while a set is decoded; reading them one by one takes 3 x longer."""


class Example(NamedTuple):
    """One labelled image: uint8[h, w, c], and an integer or a label for each pixel."""

    image: UInt8[np.ndarray, "h w c"]
    label: int | UInt8[np.ndarray, "h w"]


@runtime_checkable
class Records(Protocol):
    """The labelled images of one split, by index."""

    def __len__(self) -> int: ...

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`, augmented with `rng`; without it, the one for evaluation.

        Raises:
          CorruptRecord: the record cannot be read or decoded.
        """
        ...


@dataclass(frozen=True, eq=False)
class DecodedRecords:
    """Small images, all in memory.

    Attributes:
      images: images, uint8[n, h, w, c].
      labels: labels, int32[n]; or label maps, uint8[n, h, w].
      augment: augmentations, applied in order in training.
      corrupt: records that could not be decoded, by index.
      outside: label of pixels from outside the image, where there are label maps.

    Raises:
      ValueError: the label maps are not of the size of the images, `outside` is not
        given for them, or an augmentation cannot move them.

    >>> images, labels = np.zeros((2, 8, 8, 1), np.uint8), np.arange(2, dtype=np.int32)
    >>> DecodedRecords(images, labels, augment=(), corrupt={}).example(1).label
    1
    """

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int32[np.ndarray, " n"] | UInt8[np.ndarray, "n rows columns"]
    augment: tuple[Augment, ...]
    corrupt: Mapping[int, CorruptRecord]
    outside: int | None = None

    def __post_init__(self) -> None:
        if self.labels.ndim == 1:
            return
        if self.labels.shape != self.images.shape[:3]:
            raise ValueError(
                f"label maps must have the shape {self.images.shape[:3]} of the images,"
                f" got {self.labels.shape}"
            )
        if self.outside is None:
            raise ValueError("outside must be a label, as there are label maps")
        check_labels_move(self.augment)

    def __len__(self) -> int:
        return len(self.labels)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Example `index`, augmented if `rng` is given."""
        if index in self.corrupt:
            # Raising one stored exception again and again would grow its traceback.
            raise CorruptRecord(*self.corrupt[index].args)
        image, label = self.images[index], self.labels[index]
        if self.outside is None:
            return Example(_augmented(image, self.augment, rng), int(label))
        if rng is not None:
            fill = self.outside
            image, label = together(self.augment, image, label, rng, fill=fill)
        return Example(image, label)


@dataclass(frozen=True, eq=False)
class EncodedRecords:
    """Photographs, decoded on every access.

    Attributes:
      name: name of the split, for the keys of corrupt records.
      source: data source.
      num_classes: number of classes; labels are in [0, num_classes).
      size: side of the square images returned.
      augment: augmentations, applied in order in training, after the random-resized
        crop.
      max_pixels: the largest number of pixels of a photograph; one that has more is a
        corrupt record.
      channels: number of channels of the images, 1 for grey, 3 for RGB.
    """

    name: str
    source: Source
    num_classes: int
    size: int
    augment: tuple[Augment, ...]
    max_pixels: int = images.MAX_PIXELS
    channels: int = 3

    def __len__(self) -> int:
        return len(self.source)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """A random-resized crop of photograph `index`, or its centre without `rng`."""
        record = read_record(self.source, index, self.name)
        with reading(record_key(self.name, index, record)):
            label = _label(record, self.num_classes)
            image = images.decode_crop(
                record["image"],
                partial(centre_crop_box, size=self.size)
                if rng is None
                else partial(random_crop_box, rng=rng),
                size=self.size,
                channels=self.channels,
                draft=rng is not None,
                max_pixels=self.max_pixels,
            )
        return Example(_augmented(image, self.augment, rng), label)


def decode_all(
    source: Source,
    *,
    name: str,
    recipe: Recipe,
    size: int,
    log: CorruptLog,
    max_pixels: int = images.MAX_PIXELS,
) -> DecodedRecords:
    """All records of a split, decoded and resized to `size x size`.

    Args:
      source: data source.
      name: name of the split, for the keys of corrupt records.
      recipe: recipe with the stored image size, the channels and the number of classes.
      size: side of the result's images in pixels.
      log: log of corrupt records.
      max_pixels: the largest number of pixels of an image; one that has more is a
        corrupt record.

    Raises:
      ValueError: more records are corrupt than `log` allows.

    >>> import io
    >>> from PIL import Image
    >>> from dst_jax.data.recipes import recipe_of
    >>> class OneImage:
    ...     def __len__(self):
    ...         return 1
    ...     def __getitems__(self, indices):
    ...         file = io.BytesIO()
    ...         Image.new("L", (28, 28)).save(file, "png")
    ...         return [{"image": file.getvalue(), "label": 7}]
    ...     def __getitem__(self, index):
    ...         return self.__getitems__([index])[0]
    >>> mnist, log = recipe_of("mnist"), CorruptLog(limit=0)
    >>> decode_all(OneImage(), name="one", recipe=mnist, size=14, log=log).images.shape
    (1, 14, 14, 1)
    """
    n = len(source)
    pixels = np.zeros((n, size, size, recipe.channels), np.uint8)
    labels = np.zeros(n, np.int32)
    corrupt = {}
    for start in range(0, n, _CHUNK):
        indices = range(start, min(start + _CHUNK, n))
        for index, record in zip(indices, read_chunk(source, indices), strict=True):
            try:
                record = record or read_record(source, index, name)
                with reading(record_key(name, index, record)):
                    labels[index] = _label(record, recipe.num_classes)
                    pixels[index] = _small_image(record, recipe, size, max_pixels)
            except CorruptRecord as error:
                log.add(error)
                # A fresh exception, without the traceback that keeps frames alive.
                corrupt[index] = CorruptRecord(error.key, error.reason)
    return DecodedRecords(pixels, labels, recipe.augment, corrupt)


def _label(record: Mapping[str, Any], num_classes: int) -> int:
    label = operator.index(record["label"])
    if not 0 <= label < num_classes:
        raise ValueError(f"label {label} is not in [0, {num_classes})")
    return label


def _small_image(
    record: Mapping[str, Any], recipe: Recipe, size: int, max_pixels: int
) -> np.ndarray:
    image = images.decode(
        record["image"], channels=recipe.channels, max_pixels=max_pixels
    )
    stored = (recipe.image_size, recipe.image_size, recipe.channels)
    if image.shape != stored:
        raise ValueError(f"image shape {image.shape} is not {stored}")
    return images.resize(image, size)


def _augmented(
    image: np.ndarray, augment: tuple[Augment, ...], rng: np.random.Generator | None
) -> np.ndarray:
    if rng is not None:
        for transform in augment:
            image = transform(image, rng)
    return image
