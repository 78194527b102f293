"""A data set for training: three splits, their classes, shapes and statistics."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import numpy as np
from jaxtyping import Int

from dst_jax import checks
from dst_jax.data import augments
from dst_jax.data.corrupt import CorruptLog, CorruptRecord
from dst_jax.data.images import MAX_PIXELS
from dst_jax.data.opening import OpenRecords, open_records
from dst_jax.data.options import check_range
from dst_jax.data.recipes import MADE, Recipe, find, recipe_of
from dst_jax.data.records import DecodedRecords, Example, Records

__all__ = ["Dataset", "Split", "assemble", "load", "outside_arguments"]

_HOLDOUT_SEED = 0


@dataclass(frozen=True, eq=False)
class Split:
    """Some of the records of a data set, by position.

    Attributes:
      name: name of data set and split, such as `cifar100 train`.
      records: records that the positions point into.
      indices: index of the record at each position.
      corrupt: corrupt records met so far, shared by all splits of a data set.
    """

    name: str
    records: Records
    indices: Int[np.ndarray, " n"]
    corrupt: CorruptLog

    def __len__(self) -> int:
        return len(self.indices)

    def example(self, position: int, rng: np.random.Generator | None = None) -> Example:
        """The example at a position.

        Args:
          position: position in [0, len(split)).
          rng: generator that augments the image; without it the image is the one for
            evaluation.

        Raises:
          CorruptRecord: the record cannot be read or decoded; it has been counted.
          ValueError: more records are corrupt than `corrupt.limit`.
        """
        try:
            return self.records.example(int(self.indices[position]), rng)
        except CorruptRecord as record:
            self.corrupt.add(record)
            raise


@dataclass(frozen=True, eq=False)
class Dataset:
    """An open data set.

    Attributes:
      name: name of the data set, from `data.names()`.
      num_classes: number of classes; labels are in [0, num_classes).
      image_shape: shape (h, w, c) of every image.
      mean: mean of pixels / 255, per channel.
      std: standard deviation of pixels / 255, per channel.
      train: split to train on.
      holdout: part of the training split set aside for choices; None without one.
      test: split to report on.
      origin: version and digest of a prepared set, for `fingerprint`; may be empty.
      ignore: label of pixels that do not count; None where there are none.
    """

    name: str
    num_classes: int
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: Split
    holdout: Split | None
    test: Split
    origin: Mapping[str, str] = field(default_factory=dict)
    ignore: int | None = None


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    holdout: float | None = None,
    augment: Sequence[str] | None = None,
    standardise: bool = True,
    corrupt_limit: int = 100,
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """Opens a data set; small images are decoded into memory.

    Args:
      name: name from `data.names()`, or `module:attribute` of a `Recipe` of a set in
        TFDS, of a `Dataset`, or of a function that returns one. The parameters of that
        function are those of the options below that it supports.
      data_dir: directory of prepared sets; by default $TFDS_DATA_DIR, else
        ~/tensorflow_datasets.
      image_size: side of the images in pixels, at least 1; by default the recipe's.
      holdout: fraction of the training split that is set aside, in [0, 1). The same
        records are set aside for any seed of a run. By default the recipe's.
      augment: names of `augments.names()`, applied in order in training; by default
        the recipe's.
      standardise: Whether `mean` and `std` are the recipe's; otherwise they are 0 and
        1, and black stays 0.
      corrupt_limit: number of distinct corrupt records that are left out, at least 0;
        one more is an error.
      max_pixels: the largest number of pixels of an image in a set of TFDS, at least 1;
        an image that has more is a corrupt record, and is not decoded.

    Raises:
      FileNotFoundError: the set is not prepared; the message gives the command.
      ValueError: an argument is out of range, or the set does not support it; the set
        is damaged, or a split of it is empty; or more than `corrupt_limit` records are
        corrupt.

    >>> dataset = load("digits", holdout=0.25)
    >>> len(dataset.train), len(dataset.holdout), len(dataset.test)
    (898, 300, 599)
    >>> dataset.image_shape
    (16, 16, 1)
    """
    recipe = find(name) if ":" in name or name in MADE else recipe_of(name)
    if not isinstance(recipe, Recipe):
        options = {
            "data_dir": data_dir,
            "image_size": image_size,
            "holdout": holdout,
            "augment": augment,
            "standardise": standardise,
        }
        return _from_outside(name, recipe, options)
    if augment is not None:
        recipe = replace(recipe, augment=augments.by_names(augment))
    if not standardise:
        recipe = recipe.without_statistics()
    size = recipe.image_size if image_size is None else image_size
    fraction = recipe.holdout if holdout is None else holdout
    _check_options(size, fraction, corrupt_limit)
    check_range("max_pixels", max_pixels, 1)
    log = CorruptLog(corrupt_limit)
    opened = open_records(
        name, recipe, data_dir=data_dir, size=size, log=log, max_pixels=max_pixels
    )
    return assemble(name, recipe, opened, size=size, holdout=fraction, log=log)


def assemble(
    name: str,
    recipe: Recipe,
    opened: OpenRecords,
    *,
    size: int,
    holdout: float,
    log: CorruptLog,
) -> Dataset:
    """A data set from its records, a part of the training split set aside.

    Args:
      name: name of the data set.
      recipe: its recipe.
      opened: the records of its two splits.
      size: side of the images in pixels.
      holdout: fraction of the training split that is set aside, in [0, 1).
      log: log of its corrupt records.

    >>> from dst_jax.data.opening import open_records
    >>> recipe, log = recipe_of("digits"), CorruptLog(limit=0)
    >>> opened = open_records("digits", recipe, size=8, log=log)
    >>> assemble("digits", recipe, opened, size=8, holdout=0.0, log=log).image_shape
    (8, 8, 1)
    """
    train, test = opened.train, opened.test
    kept, apart = _hold_out(len(train), holdout)
    return Dataset(
        name=name,
        num_classes=recipe.num_classes,
        image_shape=(size, size, recipe.channels),
        mean=recipe.mean,
        std=recipe.std,
        train=Split(f"{name} train", train, kept, log),
        holdout=Split(f"{name} holdout", train, apart, log) if len(apart) else None,
        test=Split(f"{name} test", test, np.arange(len(test)), log),
        origin=opened.origin,
        ignore=recipe.ignore,
    )


def outside_arguments(name: str, found: Any, **options: Any) -> dict[str, Any]:
    """The options that a data set from outside is given.

    Args:
      name: `module:attribute`, for the message.
      found: what is found there: a `Dataset`, or a function that returns one.
      **options: options of `load`; None, and `standardise=True`, are not given.

    Raises:
      ValueError: it is neither, or does not take an option that is given.

    >>> outside_arguments("m:f", lambda holdout: None, holdout=0.5, image_size=None)
    {'holdout': 0.5}
    """
    if not callable(found) and not isinstance(found, Dataset):
        raise ValueError(
            f"data set {name!r} must be a Recipe, a Dataset, or a function that"
            f" returns one, got {found!r}"
        )
    if options.get("standardise"):
        options["standardise"] = None
    given = {option: value for option, value in options.items() if value is not None}
    takes = signature(found).parameters if callable(found) else {}
    checks.known_options(name, given.keys() - {"data_dir"}, takes)
    return {option: value for option, value in given.items() if option in takes}


def _from_outside(name: str, found: Any, options: Mapping[str, Any]) -> Dataset:
    """A data set that is no recipe, with the options that are given."""
    given = outside_arguments(name, found, **options)
    dataset = found(**given) if callable(found) else found
    if not isinstance(dataset, Dataset):
        raise ValueError(f"data set {name!r} must be a Dataset, got {dataset!r}")
    for split in (dataset.train, dataset.test):
        if not len(split):
            raise ValueError(f"data set {name!r}: the split {split.name!r} is empty")
        _check_label_maps(name, dataset, split)
    return dataset


def _check_label_maps(name: str, dataset: Dataset, split: Split) -> None:
    """Refuses label maps in memory with a label that is no class."""
    records = split.records
    if not isinstance(records, DecodedRecords) or records.labels.ndim == 1:
        return
    found = np.unique(records.labels).tolist()
    for label in found:
        if label != dataset.ignore and label >= dataset.num_classes:
            raise ValueError(
                f"data set {name!r}: a label map of {split.name!r} has the label"
                f" {label}, not in [0, {dataset.num_classes}) nor ignore="
                f"{dataset.ignore}"
            )


def _check_options(size: int, holdout: float, corrupt_limit: int) -> None:
    check_range("image_size", size, 1)
    checks.fraction("holdout", holdout)
    check_range("corrupt_limit", corrupt_limit, 0)


def _hold_out(n: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """`range(n)` in two parts: positions to train on, and `fraction` of it set aside.

    The choice is random, because a set may be stored sorted by class. It is fixed, so
    that no run trains on records that another run has held out.
    """
    # RandomState, unlike Generator, promises the same numbers in every NumPy.
    order = np.random.RandomState(_HOLDOUT_SEED).permutation(n)
    kept, apart = np.split(order, [n - round(n * fraction)])
    return np.sort(kept), np.sort(apart)
