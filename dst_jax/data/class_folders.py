"""Folders of images, one folder for each class: `folder:PATH`.

    PATH/train/CLASS/NAME.jpg   PNG or JPEG, also in folders below CLASS
    PATH/test/CLASS/NAME.jpg    or val; with both, val is the hold-out

or PATH/CLASS/NAME.jpg without splits: then a fifth of the images of each class is the
test split, drawn with seed 0. Classes are numbered in the order of their names, or of
the numbers if all names are numbers.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from dst_jax import checks
from dst_jax.data.datasets import Dataset
from dst_jax.data.image_files import ENDINGS, digest, is_hidden, name_in
from dst_jax.data.own_sets import SetOptions, from_sources, split_by_class
from dst_jax.data.source import Subset

__all__ = ["ClassFolderSource", "load"]

_logger = logging.getLogger(__name__)

_SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["val", "valid", "validation"], "val"),
    **dict.fromkeys(["test", "testing"], "test"),
}
_LAYOUT = "PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE and PATH/test/CLASS/IMAGE"
_SHOWN = 5
"""Files that are named of those that are left out."""


def load(
    path: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[SetOptions],
) -> Dataset:
    """The data set in a folder, laid out as above.

    Args:
      path: the folder.
      data_dir: directory that a relative path starts from.
      **options: options of `data.from_sources`.

    Raises:
      FileNotFoundError: there is no such folder.
      ValueError: there are no class folders or a single one, the splits have other
        classes than each other, or a class has no image.

    >>> load("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: data set 'folder:nowhere': nowhere does not exist
    """
    name = f"folder:{path}"
    root = Path(data_dir or "").expanduser() / Path(path).expanduser()
    if not root.is_dir():
        there = "is no folder" if root.exists() else "does not exist"
        raise FileNotFoundError(f"data set {name!r}: {root} {there}")
    left_out: list[Path] = []
    splits = {
        split: _classes(name, folder, left_out)
        for split, folder in _split_folders(name, root, left_out).items()
    }
    _check_same_classes(name, splits)
    if len(splits["train"]) == 1:
        raise ValueError(
            f"data set {name!r}: {root} has one class folder,"
            f" {next(iter(splits['train']))!r}; at least two are needed, as {_LAYOUT}"
        )
    class_names = _in_order(next(iter(splits.values())))
    sources = {
        split: ClassFolderSource.of(root, [found[x] for x in class_names])
        for split, found in splits.items()
    }
    files = [file for source in sources.values() for file in source.files]
    origin = {"files": digest(root, files)}
    if left_out:
        _say(name, root, left_out)
        origin["left_out"] = str(len(left_out))
    train = sources["train"]
    if "test" not in sources:
        parts = _split(name, train, class_names)
        return from_sources(
            *parts, class_names=class_names, name=name, origin=origin, **options
        )
    return from_sources(
        train,
        sources["test"],
        apart=sources.get("val"),
        class_names=class_names,
        name=name,
        origin=origin,
        **options,
    )


@dataclass(frozen=True, eq=False)
class ClassFolderSource:
    """Images and the numbers of their classes, read on every access.

    Attributes:
      root: folder that the files are named from.
      files: the images.
      labels: class of each image.
    """

    root: Path
    files: tuple[Path, ...]
    labels: tuple[int, ...]

    @classmethod
    def of(cls, root: Path, classes: Sequence[Sequence[Path]]) -> "ClassFolderSource":
        """The source of the files of each class, in order.

        >>> ClassFolderSource.of(Path("a"), [[Path("a/0/1.png")], []]).labels
        (0,)
        """
        numbered = [(x, i) for i, files in enumerate(classes) for x in files]
        return cls(root, *map(tuple, zip(*numbered, strict=True)))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        file = self.files[index]
        return {
            "image": file.read_bytes(),
            "label": self.labels[index],
            "file_name": name_in(self.root, file),
        }


def _split_folders(name: str, root: Path, left_out: list[Path]) -> dict[str, Path]:
    """The folders of the splits by `train`, `test` and `val`; or all of it as `train`.

    A folder that is called `train` next to others is a class, as of vehicles.
    """
    folders = [x for x in _visible(root) if x.is_dir()]
    if not folders:
        raise ValueError(
            f"data set {name!r}: {root} has no class folder; it must be {_LAYOUT}"
        )
    found = [(_SPLITS.get(x.name.lower()), x) for x in folders]
    if any(split is None for split, _ in found):
        return {"train": root}
    named: dict[str, Path] = {}
    for split, folder in found:
        if str(split) in named:
            raise ValueError(
                f"data set {name!r}: {named[str(split)]} and {folder} are one split;"
                " leave one of them"
            )
        named[str(split)] = folder
    if "train" not in named:
        raise ValueError(
            f"data set {name!r}: {root} has no folder train, only"
            f" {', '.join(x.name for x in folders)}"
        )
    left_out += [x for x in _visible(root) if not x.is_dir()]
    if "test" not in named and "val" in named:
        named["test"] = named.pop("val")
    return {x: named[x] for x in ("train", "val", "test") if x in named}


def _classes(name: str, folder: Path, left_out: list[Path]) -> dict[str, list[Path]]:
    """The images of each class of a split; what is no image is added to `left_out`."""
    found: dict[str, list[Path]] = {}
    beside: list[Path] = []
    for path in _visible(folder):
        if path.is_dir():
            files = _walk(path)
            found[path.name] = [x for x in files if x.suffix.lower() in ENDINGS]
            others = [x for x in files if x.suffix.lower() not in ENDINGS]
            if not found[path.name]:
                which = f", only {_listed(folder, others)}" if others else ""
                raise ValueError(
                    f"data set {name!r}: the class folder {path} has no image that ends"
                    f" in {', '.join(ENDINGS)}{which}"
                )
            beside += others
        else:
            beside.append(path)
    if not found:
        which = f", only {_listed(folder, beside)}" if beside else " and is empty"
        raise ValueError(
            f"data set {name!r}: {folder} has no class folder{which}; it must be"
            f" {_LAYOUT}"
        )
    left_out += beside
    return found


def _check_same_classes(
    name: str, splits: Mapping[str, Mapping[str, list[Path]]]
) -> None:
    train = splits["train"].keys()
    for split, found in splits.items():
        missing, more = sorted(train - found.keys()), sorted(found.keys() - train)
        if missing:
            raise ValueError(
                f"data set {name!r}: the split {split!r} has no folder of the class"
                f" {missing[0]!r}, the split 'train' has"
                f"{checks.suggestion(missing[0], more)}"
            )
        if more:
            raise ValueError(
                f"data set {name!r}: the split {split!r} has a folder of the class"
                f" {more[0]!r}, the split 'train' has not"
                f"{checks.suggestion(more[0], train)}"
            )


def _split(
    name: str, source: ClassFolderSource, class_names: Sequence[str]
) -> tuple[Subset, Subset]:
    labels = np.array(source.labels)
    for label, count in enumerate(np.bincount(labels)):
        if count < 2:
            raise ValueError(
                f"data set {name!r}: the class {class_names[label]!r} has one image; to"
                " be divided into train and test, it must have at least 2"
            )
    train, test = split_by_class(labels)
    return Subset(source, train), Subset(source, test)


def _in_order(names: Mapping[str, Any]) -> list[str]:
    """The classes by name; by number, if all are numbers.

    >>> _in_order({"10": [], "9": []}), _in_order({"b": [], "10": []})
    (['9', '10'], ['10', 'b'])
    """
    if all(x.isascii() and x.isdigit() for x in names):
        return sorted(names, key=lambda x: (int(x), x))
    return sorted(names)


def _visible(folder: Path) -> list[Path]:
    return sorted(x for x in folder.iterdir() if not is_hidden(x))


def _walk(folder: Path) -> list[Path]:
    """All visible files in a folder and below it; links to folders are files here."""
    found: list[Path] = []
    for path in _visible(folder):
        if path.is_dir() and not path.is_symlink():
            found += _walk(path)
        else:
            found.append(path)
    return found


def _say(name: str, root: Path, left_out: Sequence[Path]) -> None:
    _logger.warning(
        "data set %r: left out %d files that are no PNG or JPEG: %s",
        name,
        len(left_out),
        _listed(root, left_out),
    )


def _listed(root: Path, paths: Sequence[Path]) -> str:
    """The first names of files."""
    names = [name_in(root, x) for x in sorted(paths)[:_SHOWN]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
