"""Finds and opens prepared data sets: TFDS data sources without TensorFlow."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from dst_jax.data.recipe import Recipe
from dst_jax.data.set_checks import (
    check_splits,
    incomplete,
    prepare_anew,
    remedy_of,
)
from dst_jax.data.source import Source, read_many

__all__ = [
    "class_names",
    "data_directory",
    "find",
    "open_newest",
    "open_split",
    "origin",
    "prepared_versions",
]

_FORMAT = tfds.core.FileFormat.ARRAY_RECORD
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def data_directory(data_dir: str | os.PathLike[str] | None = None) -> Path:
    """The directory of prepared sets: `data_dir`, else the default of TFDS.

    The default is $TFDS_DATA_DIR, else ~/tensorflow_datasets.

    >>> data_directory("sets").name
    'sets'
    """
    chosen = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(chosen).expanduser().absolute()


def find(
    name: str, recipe: Recipe, data_dir: str | os.PathLike[str] | None = None
) -> Any:
    """The TFDS builder of the newest prepared version of a data set.

    Only the disk is read: no dataset class is imported, and the network is not used.

    Args:
      name: name of the data set, from `data.names()`.
      recipe: recipe of the data set.
      data_dir: directory of prepared sets, as in `data_directory`.

    Raises:
      FileNotFoundError: the set is not prepared, or only in part; the message names the
        directory and gives the command that prepares it.
      ValueError: the set is prepared in another format, or is another data set; its
        description cannot be read; a split is empty, or a file of it does not hold as
        many records as the description says.

    >>> from dst_jax.data.recipes import recipe_of
    >>> find("mnist", recipe_of("mnist"), "nowhere")
    Traceback (most recent call last):
    FileNotFoundError: data set 'mnist' is not prepared: ...
    """
    builder = open_newest(name, recipe, data_dir)
    check_splits(name, builder, recipe, (recipe.train_split, recipe.test_split))
    return builder


def open_newest(
    name: str, recipe: Recipe, data_dir: str | os.PathLike[str] | None = None
) -> Any:
    """The TFDS builder of the newest prepared version, its splits not yet checked.

    Args:
      name: name of the data set, for messages and the command that prepares it.
      recipe: recipe that says where the set is.
      data_dir: directory of prepared sets, as in `data_directory`.

    Raises:
      FileNotFoundError, ValueError: as in `find`.

    >>> from dst_jax.data.recipes import recipe_of
    >>> open_newest("tfds:mnist", recipe_of("mnist"), "nowhere")
    Traceback (most recent call last):
    FileNotFoundError: data set 'tfds:mnist' is not prepared: ...
    """
    root = data_directory(data_dir)
    versions = prepared_versions(recipe, root)
    remedy = remedy_of(name, recipe, root)
    if versions:
        return _open(name, versions[-1], remedy)
    folder = root / str(recipe.tfds)
    inside = sorted(x.name for x in folder.iterdir()) if folder.is_dir() else []
    configurations = [
        x
        for x in inside
        if prepared_versions(replace(recipe, tfds=f"{recipe.tfds}/{x}"), root)
    ]
    if configurations:
        raise FileNotFoundError(
            f"data set {name!r} in {folder} has configurations: name one of"
            f" {', '.join(f'{name}/{x}' for x in configurations)}"
        )
    raise FileNotFoundError(
        f"data set {name!r} is not prepared: there is no version of it in"
        f" {folder}. (Its data_dir is {_named(data_dir)}.)"
        f" Prepare it with: {remedy}"
    )


def class_names(builder: Any, recipe: Recipe) -> tuple[str, ...]:
    """The names of the classes of a prepared set; none where each pixel has a label.

    Args:
      builder: builder from `find`.
      recipe: recipe of the set.
    """
    if recipe.label_maps is not None:
        return ()
    return tuple(builder.info.features[recipe.label_feature].names)


def prepared_versions(recipe: Recipe, root: Path) -> list[Path]:
    """The version folders of a data set below `root`, oldest first.

    A version that TFDS has not finished writing has another name.

    >>> from dst_jax.data.recipes import recipe_of
    >>> prepared_versions(recipe_of("mnist"), Path("nowhere"))
    []
    """
    folder = root / str(recipe.tfds)
    if not folder.is_dir():
        return []
    matches = [(_VERSION.fullmatch(path.name), path) for path in folder.iterdir()]
    found = [(tuple(map(int, m.groups())), path) for m, path in matches if m]
    return [path for _, path in sorted(found)]


def open_split(builder: Any, split: str, recipe: Recipe) -> Source:
    """A TFDS data source of `image` and `label`; images stay encoded bytes.

    Args:
      builder: builder from `find`.
      split: name of a split.
      recipe: recipe that names the features of the set.
    """
    encoded = [recipe.image_feature]
    if recipe.label_maps is not None:
        encoded.append(recipe.label_feature)
    decoders = {feature: tfds.decode.SkipDecoding() for feature in encoded}
    source = builder.as_data_source(split=split, decoders=decoders)
    features = (recipe.image_feature, recipe.label_feature)
    return source if features == ("image", "label") else _Renamed(source, *features)


@dataclass(frozen=True)
class _Renamed:
    """A data source with two of its features as `image` and `label`."""

    source: Source
    image: str
    label: str

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._renamed(self.source[index])

    def __getitems__(self, indices: list[int]) -> Sequence[Mapping[str, Any]]:
        return [self._renamed(record) for record in read_many(self.source, indices)]

    def _renamed(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        own = {"image": record[self.image], "label": record[self.label]}
        return {**record, **own}


def origin(builder: Any) -> dict[str, str]:
    """The version of a prepared set, and the SHA-256 of what TFDS says of it."""
    folder = Path(builder.data_dir)
    content = (folder / "dataset_info.json").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"version": folder.name, "dataset_info": digest}


def _named(data_dir: str | os.PathLike[str] | None) -> str:
    if data_dir:
        return "the one given"
    if os.environ.get("TFDS_DATA_DIR"):
        return "$TFDS_DATA_DIR"
    return "the default; set the option or $TFDS_DATA_DIR for another"


def _open(name: str, folder: Path, remedy: str) -> Any:
    for file in ("dataset_info.json", "features.json"):
        if not (folder / file).is_file():
            raise incomplete(name, folder / file, remedy)
    try:
        builder: Any = tfds.builder_from_directory(folder)
        formats = builder.info.available_file_formats()
        _ = builder.info.splits, builder.info.features  # read on demand
    except Exception as error:  # TFDS raises what its readers of JSON raise
        raise ValueError(
            f"data set {name!r}: dataset_info.json and features.json in {folder} cannot"
            f" be read ({type(error).__name__}: {_first_line(error)})."
            f" {prepare_anew(folder, remedy)}"
        ) from None
    if _FORMAT not in formats:
        there = ", ".join(sorted(f.value for f in formats))
        raise ValueError(
            f"data set {name!r} in {folder} is prepared as {there}, not as"
            f" {_FORMAT.value}. Remove that folder, or choose another data_dir, and"
            f" run: {remedy}"
        )
    return tfds.builder_from_directory(folder, file_format=_FORMAT)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
