"""Photographs with a label for every pixel, decoded on every access."""

from dataclasses import dataclass

import numpy as np

from dst_jax.data import images
from dst_jax.data.augments import Augment, together
from dst_jax.data.corrupt import reading
from dst_jax.data.label_maps import LabelMaps
from dst_jax.data.records import Example
from dst_jax.data.source import Source, read_record, record_key
from dst_jax.data.transforms import Box, random_crop_box

__all__ = ["SegmentedRecords", "crop_box"]

_SMALLEST = 0.25
"""Share of the image's area that a crop has at least."""


@dataclass(frozen=True, eq=False)
class SegmentedRecords:
    """Photographs and their label maps.

    Attributes:
      name: name of the split, for the keys of corrupt records.
      source: data source of encoded images (`image`) and label maps (`label`).
      label_maps: what the label maps hold.
      size: side of the square images and label maps returned.
      channels: number of channels of the images.
      augment: augmentations that move label maps, applied in order in training, after
        the crop.
      max_pixels: the largest number of pixels of a photograph; one that has more is a
        corrupt record.
    """

    name: str
    source: Source
    label_maps: LabelMaps
    size: int
    channels: int = 3
    augment: tuple[Augment, ...] = ()
    max_pixels: int = images.MAX_PIXELS

    def __len__(self) -> int:
        return len(self.source)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """A crop of photograph `index` and of its label map; all of it without `rng`.

        Raises:
          CorruptRecord: the record cannot be read or decoded, its label map has another
            size than the photograph, or a label stands for no class.
        """
        record = read_record(self.source, index, self.name)
        with reading(record_key(self.name, index, record)):
            image, values = images.decode_pair(
                record["image"],
                record["label"],
                lambda width, height: crop_box(width, height, rng),
                size=self.size,
                channels=self.channels,
                draft=rng is not None,
                max_pixels=self.max_pixels,
            )
            labels = self.label_maps.classes(values)
        if rng is not None:
            fill = self.label_maps.outside
            image, labels = together(self.augment, image, labels, rng, fill=fill)
        return Example(image, labels)


def crop_box(width: int, height: int, rng: np.random.Generator | None) -> Box:
    """The part of a photograph that is shown; all of it without a generator.

    It is a random box of a quarter to all of the area, whose aspect ratio is 3/4 to 4/3
    of the photograph's: evaluation squeezes the whole photograph into a square.

    Args:
      width: width of the photograph in pixels, at least 1.
      height: height of the photograph in pixels, at least 1.
      rng: generator of the box.

    >>> crop_box(8, 4, None)
    (0.0, 0.0, 8.0, 4.0)
    """
    if rng is None:
        return 0.0, 0.0, float(width), float(height)
    aspect = width / height
    ratio = (aspect * 3 / 4, aspect * 4 / 3)
    return random_crop_box(width, height, rng, scale=(_SMALLEST, 1.0), ratio=ratio)
