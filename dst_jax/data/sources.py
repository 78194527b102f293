"""Finds and opens prepared data sets: TFDS data sources without TensorFlow."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from dst_jax.data.recipes import Recipe
from dst_jax.data.records import TfdsSource

__all__ = ["data_directory", "find", "open_split", "origin", "prepared_versions"]

_FORMAT = tfds.core.FileFormat.ARRAY_RECORD
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_THREADS = 16
"""Files that are opened at the same time: ImageNet has more than a thousand."""


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
    root = data_directory(data_dir)
    manual = " --manual-dir FOLDER" if recipe.manual_files else ""
    remedy = f"python -m dst_jax.data prepare {name} --data-dir {root}{manual}"
    versions = prepared_versions(recipe, root)
    if not versions:
        raise FileNotFoundError(
            f"data set {name!r} is not prepared: there is no version of it in"
            f" {root / str(recipe.tfds)}. (Its data_dir is {_named(data_dir)}.)"
            f" Prepare it with: {remedy}"
        )
    builder = _open(name, versions[-1], remedy)
    splits = (recipe.train_split, recipe.test_split)
    for split in splits:
        _check_files(name, builder, split, remedy)
    _check_features(name, builder, recipe)
    for split in splits:
        _check_records(name, builder, split, remedy)
    return builder


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


def open_split(builder: Any, split: str, recipe: Recipe) -> TfdsSource:
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

    source: TfdsSource
    image: str
    label: str

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._renamed(self.source[index])

    def __getitems__(self, indices: list[int]) -> Sequence[Mapping[str, Any]]:
        return [self._renamed(record) for record in self.source.__getitems__(indices)]

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
            raise _incomplete(name, folder / file, remedy)
    try:
        builder: Any = tfds.builder_from_directory(folder)
        formats = builder.info.available_file_formats()
        _ = builder.info.splits, builder.info.features  # read on demand
    except Exception as error:  # TFDS raises what its readers of JSON raise
        raise ValueError(
            f"data set {name!r}: dataset_info.json and features.json in {folder} cannot"
            f" be read ({type(error).__name__}: {_first_line(error)})."
            f" {_prepare_anew(folder, remedy)}"
        ) from None
    if _FORMAT not in formats:
        there = ", ".join(sorted(f.value for f in formats))
        raise ValueError(
            f"data set {name!r} in {folder} is prepared as {there}, not as"
            f" {_FORMAT.value}. Remove that folder, or choose another data_dir, and"
            f" run: {remedy}"
        )
    return tfds.builder_from_directory(folder, file_format=_FORMAT)


def _check_files(name: str, builder: Any, split: str, remedy: str) -> None:
    if split not in builder.info.splits:
        raise ValueError(
            f"data set {name!r} in {builder.data_dir} has no split {split!r}, only:"
            f" {', '.join(sorted(builder.info.splits))}"
        )
    for path in map(Path, builder.info.splits[split].filepaths):
        if not path.exists():
            raise _incomplete(name, path, remedy)


def _check_features(name: str, builder: Any, recipe: Recipe) -> None:
    where = f"data set {name!r} in {builder.data_dir}"
    features = builder.info.features
    known: dict[str, Any] = {}
    if isinstance(features, tfds.features.FeaturesDict):
        known = dict(features)
    image, label = recipe.image_feature, recipe.label_feature
    maps = recipe.label_maps is not None
    for feature, kind in (
        (image, tfds.features.Image),
        (label, tfds.features.Image if maps else tfds.features.ClassLabel),
    ):
        if not isinstance(known.get(feature), kind):
            raise ValueError(
                f"{where}: the feature {feature!r} must be a {kind.__name__}, got"
                f" {known.get(feature)}"
            )
    if maps:
        return  # what the maps hold is seen pixel by pixel
    classes = known[label].num_classes
    if classes != recipe.num_classes:
        raise ValueError(f"{where} has {classes} classes, not {recipe.num_classes}")


def _check_records(name: str, builder: Any, split: str, remedy: str) -> None:
    """Refuses an empty split, and files that hold another number of records."""
    info, folder = builder.info.splits[split], Path(builder.data_dir)
    where = f"data set {name!r} in {folder}, split {split!r}"
    if not info.num_examples:
        raise ValueError(f"{where}: it is empty. {_prepare_anew(folder, remedy)}")
    paths, first = list(map(Path, info.filepaths)), 0
    with ThreadPoolExecutor(_THREADS) as pool:
        counts = pool.map(_counted, paths)
        for path, said, (found, reason) in zip(
            paths, info.shard_lengths, counts, strict=True
        ):
            if said != found:
                raise ValueError(
                    f"{where}: dataset_info.json says that {path.name} holds {said}"
                    f" records, from {name} {split}[{first}]: {reason}."
                    f" {_prepare_anew(folder, remedy)}"
                )
            first += said


def _counted(path: Path) -> tuple[int, str]:
    """How many records a file holds, and that in words, or why it cannot be read."""
    reader = ArrayRecordReader(str(path))
    found = reader.num_records()
    try:
        reader.close()
    except RuntimeError as error:  # now it says that it could not open the file
        return found, f"RuntimeError: {error}"
    return found, f"it holds {found}"


def _incomplete(name: str, missing: Path, remedy: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"data set {name!r} is prepared only in part: {missing} is missing."
        f" {_prepare_anew(missing.parent, remedy)}"
    )


def _prepare_anew(folder: Path, remedy: str) -> str:
    return f"Remove {folder} and run: {remedy}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]
