"""A data set of any sources of labelled images, with what is found in them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np
from jaxtyping import Int

from dst_jax import checks
from dst_jax.data import augments
from dst_jax.data.corrupt import CorruptLog
from dst_jax.data.datasets import Dataset, assemble
from dst_jax.data.found_properties import properties_of, statistics_of
from dst_jax.data.images import MAX_PIXELS
from dst_jax.data.opening import OpenRecords, records_of
from dst_jax.data.options import check_range, check_statistics
from dst_jax.data.recipe import Recipe
from dst_jax.data.records import Records
from dst_jax.data.source import Source, Subset

__all__ = ["TEST_SHARE", "SetOptions", "from_sources", "split_by_class"]

TEST_SHARE = 0.2
"""Share of the images that are tested on, where a set has no test split."""

_SPLIT_SEED = 0
_HOLDOUT = 0.1
_PHOTOGRAPH = 224


class SetOptions(TypedDict, total=False):
    """Options of `from_sources` that a user gives; None is "not given"."""

    image_size: int | None
    channels: int | None
    holdout: float | None
    augment: Sequence[str] | None
    standardise: bool
    mean: Sequence[float] | None
    std: Sequence[float] | None
    corrupt_limit: int
    max_pixels: int


def from_sources(
    train: Source,
    test: Source | None = None,
    *,
    class_names: Sequence[str],
    name: str = "own",
    apart: Source | None = None,
    origin: Mapping[str, str] | None = None,
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
    """A data set of one's own records; what is not given is found in the images.

    Images that are squares of one side of at most 64 pixels are decoded once and taken
    whole. All others are photographs, decoded on every access: a random-resized crop in
    training, a centre crop in evaluation.

    Args:
      train: source of the training split.
      test: source of the split that is reported on; by default a fifth of `train`,
        drawn with seed 0.
      class_names: name of each class, at least two; labels are their positions.
      name: name of the data set.
      apart: source of the hold-out, where it is a split of its own.
      origin: what tells this state of the set from others, for `fingerprint`.
      image_size: side of the images in pixels; by default that of small images, and 224
        for photographs.
      channels: number of channels, 1 or 3; by default 1 if all images are grey.
      holdout: fraction of the training split that is set aside, in [0, 1); by default
        0.1, if there is no `apart`.
      augment: names of augmentations in training; by default pad_crop for small images
        and flip for photographs.
      standardise: Whether mean and deviation are those of the images, not 0 and 1.
      mean: mean of pixels / 255 by channel; by default that of the training split, from
        at most 2,000 images.
      std: standard deviation by channel, given where `mean` is.
      corrupt_limit: number of corrupt records that are left out; one more is an error.
      max_pixels: the largest number of pixels of an image; one that has more is a
        corrupt record.

    Raises:
      ValueError: an argument is out of range, a split is empty, no image is readable,
        or more than `corrupt_limit` records are corrupt.

    >>> def image(value):
    ...     return {"image": np.full((8, 8), value, np.uint8), "label": value // 128}
    >>> records = [image(value) for value in (0, 255) * 10]
    >>> dataset = from_sources(records, class_names=["black", "white"])
    >>> len(dataset.train), len(dataset.holdout), len(dataset.test)
    (14, 2, 4)
    >>> dataset.image_shape, dataset.mean
    ((8, 8, 1), (0.5,))
    """
    names = _checked_names(name, class_names)
    check_statistics(mean, std, standardise=standardise)
    check_range("corrupt_limit", corrupt_limit, 0)
    check_range("max_pixels", max_pixels, 1)
    if holdout is not None and apart is not None:
        raise ValueError(
            f"holdout must not be given, the set {name!r} has a hold-out, got {holdout}"
        )
    held = _HOLDOUT if holdout is None else holdout
    checks.fraction("holdout", held)
    if test is None:
        train, test = _random_split(name, train)
    sources = {"train": train, "holdout": apart, "test": test}
    for split, source in sources.items():
        if source is not None and not len(source):
            raise ValueError(f"data set {name!r}: the split {split!r} is empty")
    recipe = _found_recipe(name, train, names, channels=channels, augment=augment)
    size = recipe.image_size if image_size is None else image_size
    check_range("image_size", size, 1)
    log = CorruptLog(corrupt_limit)
    records: dict[str, Records] = {
        split: records_of(
            f"{name} {split}", source, recipe, size=size, log=log, max_pixels=max_pixels
        )
        for split, source in sources.items()
        if source is not None
    }
    if mean is not None and std is not None:
        _check_channels(recipe, mean)
        recipe = replace(recipe, mean=tuple(mean), std=tuple(std))
    elif standardise:
        found = statistics_of(records["train"], name=f"{name} train", log=log)
        recipe = replace(recipe, mean=found.mean, std=found.std)
    opened = OpenRecords(
        records["train"],
        records["test"],
        dict(origin or {}) | ({} if apart is None else {"holdout": "its own split"}),
        names,
        records.get("holdout"),
    )
    return assemble(name, recipe, opened, size=size, holdout=held, log=log)


def split_by_class(
    labels: Int[np.ndarray, " n"], *, share: float = TEST_SHARE
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Positions to train on and to test on: a share of every class, drawn with seed 0.

    Args:
      labels: class of each record.
      share: share of each class that is tested on, in (0, 1); at least one record, and
        at most all but one.

    Raises:
      ValueError: a class has a single record; gives its number.

    >>> train, test = split_by_class(np.array([0, 0, 0, 0, 0, 1, 1]))
    >>> len(train), len(test)
    (5, 2)
    """
    # RandomState, unlike Generator, promises the same numbers in every NumPy.
    random = np.random.RandomState(_SPLIT_SEED)
    chosen = []
    for label in np.unique(labels):
        own = random.permutation(np.flatnonzero(labels == label))
        if len(own) < 2:
            raise ValueError(f"class {label} has one image, at least 2 are needed")
        n = min(max(round(share * len(own)), 1), len(own) - 1)
        chosen.append(own[:n])
    test = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(len(labels)), test), test


def _checked_names(name: str, given: Sequence[str]) -> tuple[str, ...]:
    names = tuple(map(str, given))
    if len(names) < 2:
        raise ValueError(
            f"data set {name!r} must have at least two classes, got {list(names)}"
        )
    if len(set(names)) < len(names):
        twice = next(x for x in names if names.count(x) > 1)
        raise ValueError(f"class_names must be different, got {twice!r} twice")
    return names


def _random_split(name: str, source: Source) -> tuple[Source, Source]:
    n = len(source)
    if n < 2:
        raise ValueError(f"data set {name!r} must have at least 2 images, got {n}")
    order = np.random.RandomState(_SPLIT_SEED).permutation(n)
    test, train = np.split(order, [max(round(TEST_SHARE * n), 1)])
    return Subset(source, np.sort(train)), Subset(source, np.sort(test))


def _found_recipe(
    name: str,
    train: Source,
    class_names: Sequence[str],
    *,
    channels: int | None,
    augment: Sequence[str] | None,
) -> Recipe:
    """The recipe that follows from the images, its mean and deviation still 0 and 1."""
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    found = properties_of(train, f"{name} train")
    small = found.side is not None
    if augment is None:
        augment = ("pad_crop",) if small else ("flip",)
    n = channels or found.channels
    return Recipe(
        tfds=None,
        train_split="train",
        test_split="test",
        num_classes=len(class_names),
        image_size=found.side or _PHOTOGRAPH,
        channels=n,
        mean=(0.0,) * n,
        std=(1.0,) * n,
        augment=augments.by_names(augment),
        photographs=not small,
    )


def _check_channels(recipe: Recipe, mean: Sequence[float]) -> None:
    if len(mean) != recipe.channels:
        raise ValueError(
            f"mean and std must have {recipe.channels} values, one for each channel,"
            f" got {len(mean)}"
        )
