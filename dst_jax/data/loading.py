"""Opens a data set by name: the package's own, files of images, or any object."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, signature
from typing import Any

import numpy as np

from dst_jax import checks
from dst_jax.data import augments
from dst_jax.data.corrupt import CorruptLog
from dst_jax.data.datasets import Dataset, Split, assemble
from dst_jax.data.images import MAX_PIXELS
from dst_jax.data.opening import open_records
from dst_jax.data.options import check_range, check_statistics
from dst_jax.data.recipe import Recipe
from dst_jax.data.recipes import MADE, find, recipe_of
from dst_jax.data.records import DecodedRecords

__all__ = ["load", "outside_arguments"]

_USUAL: Mapping[str, object] = {
    "standardise": True,
    "corrupt_limit": 100,
    "max_pixels": MAX_PIXELS,
}
"""Options that count as not given if they have these values."""


def load(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    holdout: float | None = None,
    augment: Sequence[str] | None = None,
    standardise: bool = True,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    corrupt_limit: int = 100,
    max_pixels: int = MAX_PIXELS,
) -> Dataset:
    """Opens a data set; small images are decoded into memory.

    Args:
      name: name from `data.names()`; `folder:PATH`, `arrays:FILE.npz` or
        `tfds:NAME[/CONFIG]` of your own images (docs/your_data.md); or
        `module:attribute` of a `Recipe` of a set in TFDS, of a `Dataset`, or of a
        function that returns one. The parameters of that function are those of the
        options below that it supports.
      data_dir: directory of prepared sets; by default $TFDS_DATA_DIR, else
        ~/tensorflow_datasets. Where the name has a path, the directory that a relative
        one starts from.
      image_size: side of the images in pixels, at least 1; by default the recipe's.
      channels: number of channels, 1 for grey, 3 for RGB; by default the set's own.
      holdout: fraction of the training split that is set aside, in [0, 1). The same
        records are set aside for any seed of a run. By default the recipe's.
      augment: names of `augments.names()`, applied in order in training; by default
        the recipe's.
      standardise: Whether `mean` and `std` are the set's; otherwise they are 0 and 1,
        and black stays 0.
      mean: mean of pixels / 255 by channel, in place of the set's own, such as those
        that a network was trained with.
      std: standard deviation by channel, given where `mean` is.
      corrupt_limit: number of distinct corrupt records that are left out, at least 0;
        one more is an error.
      max_pixels: the largest number of pixels of an image, at least 1; an image that
        has more is a corrupt record, and is not decoded.

    Raises:
      FileNotFoundError: the set is not prepared, or a file of it is missing; the
        message says what to do.
      ValueError: an argument is out of range, or the set does not support it; the set
        is damaged, or a split of it is empty; or more than `corrupt_limit` records are
        corrupt.

    >>> dataset = load("digits", holdout=0.25)
    >>> len(dataset.train), len(dataset.holdout), len(dataset.test)
    (898, 300, 599)
    >>> dataset.image_shape
    (16, 16, 1)
    """
    check_statistics(mean, std, standardise=standardise)
    mean, std = (None if x is None else tuple(map(float, x)) for x in (mean, std))
    recipe = find(name) if ":" in name or name in MADE else recipe_of(name)
    if not isinstance(recipe, Recipe):
        options = {
            "data_dir": data_dir,
            "image_size": image_size,
            "channels": channels,
            "holdout": holdout,
            "augment": augment,
            "standardise": standardise,
            "mean": mean,
            "std": std,
            "corrupt_limit": corrupt_limit,
            "max_pixels": max_pixels,
        }
        return _from_outside(name, recipe, options)
    if channels not in (None, recipe.channels):
        raise ValueError(
            f"channels of data set {name!r} must be {recipe.channels}, got {channels}"
        )
    if augment is not None:
        recipe = replace(recipe, augment=augments.by_names(augment))
    if not standardise:
        recipe = recipe.without_statistics()
    size = recipe.image_size if image_size is None else image_size
    fraction = recipe.holdout if holdout is None else holdout
    check_range("image_size", size, 1)
    checks.fraction("holdout", fraction)
    check_range("corrupt_limit", corrupt_limit, 0)
    check_range("max_pixels", max_pixels, 1)
    log = CorruptLog(corrupt_limit)
    opened = open_records(
        name, recipe, data_dir=data_dir, size=size, log=log, max_pixels=max_pixels
    )
    found = assemble(name, recipe, opened, size=size, holdout=fraction, log=log)
    return _with_statistics(found, mean, std)


def outside_arguments(name: str, found: Any, **options: Any) -> dict[str, Any]:
    """The options that a data set from outside is given.

    Args:
      name: `module:attribute`, for the message.
      found: what is found there: a `Dataset`, or a function that returns one.
      **options: options of `load`; None, and the default of those that have another
        one, are not given.

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
    usual = {**dict.fromkeys(options), **_USUAL}
    given = {
        option: value for option, value in options.items() if value != usual[option]
    }
    takes = signature(found).parameters if callable(found) else {}
    if any(x.kind is Parameter.VAR_KEYWORD for x in takes.values()):
        return given
    # Of prepared sets, and put on what is returned.
    elsewhere = {"data_dir", "mean", "std"}
    checks.known_options(name, given.keys() - elsewhere, takes)
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
    if dataset.name != name:
        dataset = replace(dataset, origin={**dataset.origin, "loaded_as": name})
    return _with_statistics(dataset, options["mean"], options["std"])


def _with_statistics(
    dataset: Dataset, mean: Sequence[float] | None, std: Sequence[float] | None
) -> Dataset:
    if mean is None or std is None:
        return dataset
    channels = dataset.image_shape[-1]
    if len(mean) != channels:
        raise ValueError(
            f"mean and std must have {channels} values, one for each channel of"
            f" {dataset.name!r}, got {tuple(mean)} and {tuple(std)}"
        )
    return replace(dataset, mean=tuple(mean), std=tuple(std))


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
