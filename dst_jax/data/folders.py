"""Folders of images and label maps.

    DIR/dataset.json              what the label maps hold
    DIR/train/images/NAME.png     an image, PNG or JPEG
    DIR/train/labels/NAME.png     its label map: the class of each pixel
    DIR/test/images, DIR/test/labels

dataset.json is an object with `num_classes`, and any of `ignore` (255 by default, null
if every pixel counts), `image_size` (256), `channels` (3), `mean`, `std` (those of
ImageNet, or 0.5 and 0.25 in grey), `augment` (["flip"]) and `holdout` (0.1), which are
explained at `Recipe`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dst_jax import checks
from dst_jax.data import augments
from dst_jax.data.corrupt import CorruptLog
from dst_jax.data.datasets import Dataset, assemble
from dst_jax.data.image_files import ENDINGS, digest, is_hidden
from dst_jax.data.label_maps import LabelMaps
from dst_jax.data.opening import OpenRecords, records_of
from dst_jax.data.options import check_range
from dst_jax.data.recipe import Recipe

__all__ = ["load"]

_DEFAULTS: Mapping[str, Any] = {
    "ignore": 255,
    "image_size": 256,
    "channels": 3,
    "augment": ["flip"],
    "holdout": 0.1,
}
_STATISTICS = {
    1: ((0.5,), (0.25,)),
    3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
_CORRUPT_LIMIT = 100


def load(
    data_dir: str | os.PathLike[str] | None = None,
    *,
    image_size: int | None = None,
    holdout: float | None = None,
    augment: Sequence[str] | None = None,
    standardise: bool = True,
) -> Dataset:
    """The data set in a directory, laid out as above.

    Args:
      data_dir: the directory.
      image_size: side of the images in pixels, at least 1; by default that of
        dataset.json. Images of other sizes are resized.
      holdout: fraction of the training split that is set aside, in [0, 1).
      augment: names of augmentations in training.
      standardise: Whether mean and deviation are those of dataset.json, not 0 and 1.

    Raises:
      FileNotFoundError: there is no such directory, or a part of it is missing.
      ValueError: no directory is given; dataset.json cannot be read, or an entry is out
        of range; an image has no label map, or a label map no image.

    >>> load("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: data set 'folders': there is no file nowhere/dataset.json
    """
    if data_dir is None:
        raise ValueError("data set 'folders' needs data_dir, the directory it is in")
    root = Path(data_dir).expanduser()
    recipe = _recipe(root / "dataset.json")
    if augment is not None:
        recipe = replace(recipe, augment=augments.by_names(augment))
    if not standardise:
        recipe = recipe.without_statistics()
    size = recipe.image_size if image_size is None else image_size
    held = recipe.holdout if holdout is None else holdout
    check_range("image_size", size, 1)
    checks.fraction("holdout", held)
    sources = [_source(root / split) for split in ("train", "test")]
    log = CorruptLog(_CORRUPT_LIMIT)
    train, test = (
        records_of(f"folders {split}", source, recipe, size=size, log=log)
        for split, source in zip(("train", "test"), sources, strict=True)
    )
    opened = OpenRecords(train, test, {"files": _digest(root, sources)})
    return assemble("folders", recipe, opened, size=size, holdout=held, log=log)


@dataclass(frozen=True)
class FolderSource:
    """Pairs of an image and a label map, read on every access."""

    pairs: tuple[tuple[Path, Path], ...]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        image, labels = self.pairs[index]
        return {
            "image": image.read_bytes(),
            "label": labels.read_bytes(),
            "file_name": image.name,
        }

    def __getitems__(self, indices: list[int]) -> Sequence[Mapping[str, Any]]:
        return [self[index] for index in indices]


def _source(folder: Path) -> FolderSource:
    images = _by_name(folder / "images", ENDINGS)
    labels = _by_name(folder / "labels", (".png",))
    for name in sorted(images.keys() ^ labels.keys()):
        if name in images:
            raise ValueError(
                f"image {images[name]} has no label map {folder}/labels/{name}.png"
            )
        raise ValueError(f"label map {labels[name]} has no image in {folder}/images")
    return FolderSource(tuple((images[name], labels[name]) for name in sorted(images)))


def _by_name(folder: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """The files of a folder by name, without the ending."""
    if not folder.is_dir():
        raise FileNotFoundError(f"data set 'folders': there is no folder {folder}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in endings and not is_hidden(path):
            if path.stem in found:
                raise ValueError(f"{found[path.stem]} and {path} have the same name")
            found[path.stem] = path
    if not found:
        raise ValueError(f"{folder} is empty: it has no file ending in {endings}")
    return found


def _digest(root: Path, sources: Sequence[FolderSource]) -> str:
    """The SHA-256 of dataset.json and of the names and sizes of all files."""
    paths = (path for source in sources for pair in source.pairs for path in pair)
    return digest(root, paths, start=(root / "dataset.json").read_bytes())


def _recipe(file: Path) -> Recipe:
    """The recipe that dataset.json describes."""
    if not file.is_file():
        raise FileNotFoundError(f"data set 'folders': there is no file {file}")
    try:
        given = json.loads(file.read_text("utf-8"))
        if not isinstance(given, dict) or "num_classes" not in given:
            raise ValueError("it must be an object with an entry num_classes")
        statistics = ("mean", "std")
        checks.known_options(
            "it", given.keys(), ("num_classes", *_DEFAULTS, *statistics)
        )
        described = {**_DEFAULTS, **given}
        for name in ("num_classes", "image_size"):
            value = described.get(name, 1)
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        return _described(**described)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None


def _described(
    *,
    num_classes: int,
    ignore: int | None,
    image_size: int,
    channels: int,
    augment: Sequence[str],
    holdout: float,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Recipe:
    checks.fraction("holdout", holdout)
    if channels not in _STATISTICS:
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    usual = _STATISTICS[channels]
    given = zip((mean, std), usual, strict=True)
    found = [tuple(float(x) for x in own or other) for own, other in given]
    if any(len(values) != channels for values in found):
        raise ValueError(f"mean and std must have {channels} values, got {found}")
    if not all(value > 0 for value in found[1]):
        raise ValueError(f"std must be positive, got {found[1]}")
    return Recipe(
        tfds=None,
        train_split="train",
        test_split="test",
        num_classes=num_classes,
        image_size=image_size,
        channels=channels,
        mean=found[0],
        std=found[1],
        augment=augments.by_names(augment),
        photographs=True,
        holdout=holdout,
        label_maps=LabelMaps(
            num_classes, ignore=ignore, outside=0 if ignore is None else ignore
        ),
    )
