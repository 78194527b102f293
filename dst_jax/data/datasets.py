"""A data set for training: three splits, their classes, shapes and statistics."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from dst_jax.data.corrupt import CorruptLog, CorruptRecord
from dst_jax.data.opening import OpenRecords
from dst_jax.data.recipe import Recipe
from dst_jax.data.records import Example, Records

__all__ = ["Dataset", "Split", "assemble"]

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
      name: name of the data set, as `data.load` takes it; any for one of your own.
      num_classes: number of classes; labels are in [0, num_classes).
      image_shape: shape (h, w, c) of every image.
      mean: mean of pixels / 255, per channel.
      std: standard deviation of pixels / 255, per channel.
      train: split to train on.
      holdout: examples set aside for choices; None without any.
      test: split to report on.
      origin: version and digest of a prepared set, for `fingerprint`; may be empty.
      ignore: label of pixels that do not count; None where there are none.
      class_names: name of each class; empty where they are not known.

    Raises:
      ValueError: there is not one name for each class.
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
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.class_names) not in (0, self.num_classes):
            raise ValueError(
                f"class_names must be {self.num_classes}, one for each class, got"
                f" {len(self.class_names)}: {self.class_names}"
            )


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

    Where the hold-out is a split of its own, the training split stays whole.

    Args:
      name: name of the data set.
      recipe: its recipe.
      opened: the records of its two splits.
      size: side of the images in pixels.
      holdout: fraction of the training split that is set aside, in [0, 1).
      log: log of its corrupt records.

    >>> from dst_jax.data.opening import open_records
    >>> from dst_jax.data.recipes import recipe_of
    >>> recipe, log = recipe_of("digits"), CorruptLog(limit=0)
    >>> opened = open_records("digits", recipe, size=8, log=log)
    >>> assemble("digits", recipe, opened, size=8, holdout=0.0, log=log).image_shape
    (8, 8, 1)
    """
    train, test, other = opened.train, opened.test, opened.holdout
    if other is None:
        kept, apart = _hold_out(len(train), holdout)
    else:
        kept, apart = np.arange(len(train)), np.arange(len(other))
    return Dataset(
        name=name,
        num_classes=recipe.num_classes,
        image_shape=(size, size, recipe.channels),
        mean=recipe.mean,
        std=recipe.std,
        train=Split(f"{name} train", train, kept, log),
        holdout=Split(f"{name} holdout", other or train, apart, log)
        if len(apart)
        else None,
        test=Split(f"{name} test", test, np.arange(len(test)), log),
        origin=opened.origin,
        ignore=recipe.ignore,
        class_names=opened.class_names,
    )


def _hold_out(n: int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """`range(n)` in two parts: positions to train on, and `fraction` of it set aside.

    The choice is random, because a set may be stored sorted by class. It is fixed, so
    that no run trains on records that another run has held out.
    """
    # RandomState, unlike Generator, promises the same numbers in every NumPy.
    order = np.random.RandomState(_HOLDOUT_SEED).permutation(n)
    kept, apart = np.split(order, [n - round(n * fraction)])
    return np.sort(kept), np.sort(apart)
