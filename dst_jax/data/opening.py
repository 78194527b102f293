"""Opens the records of a data set's two splits."""

import os
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from dst_jax.data import canvases
from dst_jax.data.corrupt import CorruptLog
from dst_jax.data.digits import load_digits
from dst_jax.data.images import MAX_PIXELS
from dst_jax.data.recipes import Canvas, Recipe, recipe_of
from dst_jax.data.records import EncodedRecords, Records, decode_all
from dst_jax.data.segmented import SegmentedRecords
from dst_jax.data.source import Source

__all__ = ["OpenRecords", "open_records", "records_of"]


class OpenRecords(NamedTuple):
    """The records of a data set.

    Attributes:
      train: records of the training split.
      test: records of the split that is reported on.
      origin: version and digest of what was opened; may be empty.
      class_names: name of each class; empty where they are not known.
      holdout: records set aside for choices, where they are a split of their own.
    """

    train: Records
    test: Records
    origin: Mapping[str, str]
    class_names: tuple[str, ...] = ()
    holdout: Records | None = None


def open_records(
    name: str,
    recipe: Recipe,
    *,
    size: int,
    log: CorruptLog,
    data_dir: str | os.PathLike[str] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> OpenRecords:
    """The records of the training and the test split, and where they come from.

    Args:
      name: name of the data set.
      recipe: its recipe.
      size: side of the images in pixels.
      log: log of corrupt records.
      data_dir: directory of prepared sets, as in `data.load`.
      max_pixels: the largest number of pixels of an image in a set of TFDS.

    Raises:
      FileNotFoundError: the set, or one that it is drawn from, is not prepared.
      ValueError: the set is damaged, or a split of it is empty; or more records are
        corrupt than `log` allows.

    >>> opened = open_records("digits", recipe_of("digits"), size=8, log=CorruptLog(0))
    >>> len(opened.train), len(opened.test)
    (1198, 599)
    """
    if recipe.canvas is not None:
        return _drawn(recipe, recipe.canvas, data_dir, size, log, max_pixels)
    if recipe.tfds is None:
        if ":" in name:
            raise ValueError(
                f"the recipe {name} must name a set of TFDS, got tfds=None"
            )
        return OpenRecords(*load_digits(recipe, size=size), {})
    from dst_jax.data import sources  # imports TFDS, which other sets do without

    builder = sources.find(name, recipe, data_dir)
    options = {"size": size, "log": log, "max_pixels": max_pixels}

    def records(split: str) -> Records:
        source = sources.open_split(builder, split, recipe)
        return records_of(f"{name} {split}", source, recipe, **options)

    train, test = records(recipe.train_split), records(recipe.test_split)
    classes = sources.class_names(builder, recipe)
    return OpenRecords(train, test, sources.origin(builder), classes)


def records_of(
    name: str,
    source: Source,
    recipe: Recipe,
    *,
    size: int,
    log: CorruptLog,
    max_pixels: int = MAX_PIXELS,
) -> Records:
    """The records of one split, decoded now or on every access.

    Args:
      name: name of the split, for the keys of corrupt records.
      source: data source of encoded images and their labels or label maps.
      recipe: recipe of the data set.
      size: side of the images in pixels.
      log: log of corrupt records.
      max_pixels: the largest number of pixels of an image.

    >>> class Empty(list):
    ...     __getitems__ = list.__getitem__
    >>> log = CorruptLog(0)
    >>> len(records_of("mnist train", Empty(), recipe_of("mnist"), size=28, log=log))
    0
    """
    augment = recipe.augment
    if (maps := recipe.label_maps) is not None:
        return SegmentedRecords(
            name, source, maps, size, recipe.channels, augment, max_pixels
        )
    if recipe.photographs:
        return EncodedRecords(
            name, source, recipe.num_classes, size, augment, max_pixels, recipe.channels
        )
    return decode_all(
        source, name=name, recipe=recipe, size=size, log=log, max_pixels=max_pixels
    )


def _drawn(
    recipe: Recipe,
    canvas: Canvas,
    data_dir: str | os.PathLike[str] | None,
    size: int,
    log: CorruptLog,
    max_pixels: int,
) -> OpenRecords:
    """The canvases to train on and those to test on, of the sets' own splits."""

    def opened(name: str, size: int | None) -> OpenRecords:
        recipe = recipe_of(name)
        return open_records(
            name,
            recipe,
            size=recipe.image_size if size is None else size,
            log=log,
            data_dir=data_dir,
            max_pixels=max_pixels,
        )

    digits, under = opened(canvas.digits, None), None
    if canvas.photographs is not None:
        under = opened(canvas.photographs, size)
    compose = partial(canvases.compose, recipe=recipe, size=size, log=log)
    return OpenRecords(
        compose(digits.train, under and under.train, n=canvas.train, seed=0),
        compose(digits.test, under and under.test, n=canvas.test, seed=1),
        {},
    )
