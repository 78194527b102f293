"""Images and labels in one file of NumPy: `arrays:FILE.npz`.

    images, labels              uint8 (n, height, width) or (n, height, width, 1 or 3);
                                integers (n,) or (n, 1), from 0
    train_images, train_labels, test_images, test_labels; and val_..., the hold-out
    class_names                 names of the classes; else their numbers

`x` and `y` stand for images and labels, in either order (`x_train`, `test_y`), and the
singular for the plural: files of Keras and of MedMNIST are read as they are. Without
splits a fifth of the images of each class is the test split, drawn with seed 0.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from jaxtyping import Integer, UInt8

from dst_jax.data.datasets import Dataset
from dst_jax.data.own_sets import SetOptions, from_sources, split_by_class
from dst_jax.data.source import Source, Subset

__all__ = ["ArraySource", "load"]

_IMAGES = ("images", "image", "x")
_LABELS = ("labels", "label", "y")
_SPLITS = {"train": ("train",), "test": ("test",), "val": ("val", "validation")}
_WANTED = (
    "images and labels, or train_images, train_labels, test_images and test_labels"
)


def load(
    path: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[SetOptions],
) -> Dataset:
    """The data set in a file of arrays, as above; all of it is read into memory.

    Args:
      path: the file.
      data_dir: directory that a relative path starts from.
      **options: options of `data.from_sources`.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file cannot be read, lacks an array, or an array has another shape
        or dtype; a label is negative, or a class has no image to train on.

    >>> load("nowhere.npz")
    Traceback (most recent call last):
    FileNotFoundError: data set 'arrays:nowhere.npz': there is no file nowhere.npz
    """
    name = f"arrays:{path}"
    file = Path(data_dir or "").expanduser() / Path(path).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"data set {name!r}: there is no file {file}")
    arrays = _read(name, file)
    sources = _sources(name, arrays)
    class_names = _class_names(name, arrays, sources)
    with file.open("rb") as opened:
        origin = {"files": hashlib.file_digest(opened, "sha256").hexdigest()}
    train: Source = sources["train"]
    test: Source | None = sources.get("test")
    if test is None:
        try:
            parts = split_by_class(sources["train"].labels)
        except ValueError as error:
            raise ValueError(f"data set {name!r}: {error}") from None
        train, test = (Subset(train, positions) for positions in parts)
    return from_sources(
        train,
        test,
        apart=sources.get("val"),
        class_names=class_names,
        name=name,
        origin=origin,
        **options,
    )


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images and labels in memory.

    Attributes:
      images: images, uint8[n, h, w] or uint8[n, h, w, c].
      labels: labels, integers[n].

    >>> ArraySource(np.zeros((2, 8, 8), np.uint8), np.array([0, 3]))[1]["label"]
    3
    """

    images: UInt8[np.ndarray, "n h w *c"]
    labels: Integer[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return {"image": self.images[index], "label": int(self.labels[index])}


def _read(name: str, file: Path) -> dict[str, np.ndarray]:
    """All arrays of the file by name."""
    try:
        # np.load leaves a damaged file open, where it opens it itself.
        with file.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            if isinstance(found, np.ndarray):
                raise ValueError("it holds a single array, as .npy files do")
            return dict(found)
    except Exception as error:  # of a damaged archive: BadZipFile, zlib.error, EOFError
        raise ValueError(
            f"data set {name!r}: {file} cannot be read as .npz of plain arrays"
            f" ({type(error).__name__}: {error})"
        ) from None


def _sources(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, ArraySource]:
    """The source of each split that the file has; `train` alone without splits."""
    found: dict[str, ArraySource] = {}
    for split, words in _SPLITS.items():
        pair = [_array(name, arrays, kinds, words) for kinds in (_IMAGES, _LABELS)]
        if pair != [None, None]:
            found[split] = _source(name, arrays, split, *pair)
    if not found:
        pair = [_array(name, arrays, kinds, ("",)) for kinds in (_IMAGES, _LABELS)]
        found["train"] = _source(name, arrays, "", *pair)
    if "train" not in found:
        raise ValueError(
            f"data set {name!r} must have {_WANTED}, got no images to train on, only"
            f" {sorted(arrays)}"
        )
    if "test" not in found and "val" in found:
        found["test"] = found.pop("val")
    return found


def _array(
    name: str,
    arrays: Mapping[str, np.ndarray],
    kinds: Sequence[str],
    splits: Sequence[str],
) -> str | None:
    """The key of the images, or of the labels, of a split."""
    pairs = [(kind, split) for kind in kinds for split in splits]
    wanted = {"_".join(filter(None, pair)) for pair in pairs}
    wanted |= {"_".join(filter(None, reversed(pair))) for pair in pairs}
    keys = [key for key in arrays if key.lower() in wanted]
    if len(keys) > 1:
        raise ValueError(f"data set {name!r}: {keys} are the same; leave one of them")
    return keys[0] if keys else None


def _source(
    name: str,
    arrays: Mapping[str, np.ndarray],
    split: str,
    image_key: str | None,
    label_key: str | None,
) -> ArraySource:
    if image_key is None or label_key is None:
        what = "images" if image_key is None else "labels"
        of = f" of the split {split!r}" if split else ""
        raise ValueError(
            f"data set {name!r} must have {_WANTED}, got no {what}{of}, only"
            f" {sorted(arrays)}"
        )
    pixels, labels = arrays[image_key], arrays[label_key]
    _check_images(name, image_key, pixels)
    if labels.shape[1:] == (1,):
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"data set {name!r}: {label_key} must be integers of shape (n,), got"
            f" {labels.dtype} of shape {labels.shape}"
        )
    if len(pixels) != len(labels):
        raise ValueError(
            f"data set {name!r}: {image_key} and {label_key} must have the same length,"
            f" got {len(pixels)} and {len(labels)}"
        )
    if not len(labels):
        raise ValueError(f"data set {name!r}: {image_key} is empty")
    return ArraySource(pixels, labels.astype(np.int64))


def _check_images(name: str, key: str, pixels: np.ndarray) -> None:
    shape = pixels.shape
    if pixels.dtype != np.uint8:
        remedy = ""
        if np.issubdtype(pixels.dtype, np.floating):
            remedy = "; if it is from 0 to 1, store (255 * x).round() as uint8"
        raise ValueError(
            f"data set {name!r}: {key} must be uint8, got {pixels.dtype}{remedy}"
        )
    if pixels.ndim not in (3, 4) or shape[3:] not in ((), (1,), (3,), (4,)):
        last = "; channels must be last" if shape[1:2] in ((1,), (3,)) else ""
        raise ValueError(
            f"data set {name!r}: {key} must have shape (n, height, width) or (n,"
            f" height, width, 1, 3 or 4 channels), got {shape}{last}"
        )


def _class_names(
    name: str,
    arrays: Mapping[str, np.ndarray],
    sources: Mapping[str, ArraySource],
) -> list[str]:
    given = arrays.get("class_names")
    if given is not None and (given.ndim != 1 or given.dtype.kind != "U"):
        raise ValueError(
            f"data set {name!r}: class_names must be text of shape (classes,), got"
            f" {given.dtype} of shape {given.shape}"
        )
    last = max(int(source.labels.max()) for source in sources.values())
    classes = last + 1 if given is None else len(given)
    for split, source in sources.items():
        wrong = source.labels[(source.labels < 0) | (source.labels >= classes)]
        if wrong.size:
            raise ValueError(
                f"data set {name!r}: labels of the split {split!r} must be in [0,"
                f" {classes}), got {wrong[0]}"
            )
    missing = np.setdiff1d(np.arange(classes), sources["train"].labels)
    if missing.size:
        raise ValueError(
            f"data set {name!r}: the class {missing[0]} has no image to train on;"
            f" labels must be 0 to {classes - 1}, each of them"
        )
    return list(map(str, range(classes) if given is None else given))
