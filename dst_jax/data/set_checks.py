"""Refuses a prepared data set that is damaged, incomplete or another one."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader

from dst_jax.data.recipe import Recipe

__all__ = ["check_splits", "incomplete", "prepare_anew", "remedy_of"]

_THREADS = 16
"""Files that are opened at the same time: ImageNet has more than a thousand."""


def check_splits(
    name: str, builder: Any, recipe: Recipe, splits: Sequence[str]
) -> None:
    """Refuses a set whose features are not the recipe's, and damaged or empty splits.

    Args:
      name: name of the data set.
      builder: builder from `sources.open_newest`.
      recipe: recipe of the set.
      splits: names of the splits that will be read.

    Raises:
      FileNotFoundError, ValueError: as in `sources.find`.
    """
    folder = Path(builder.data_dir)
    remedy = remedy_of(name, recipe, _root_of(folder, recipe))
    for split in splits:
        _check_files(name, builder, split, remedy)
    _check_features(name, builder, recipe)
    for split in splits:
        _check_records(name, builder, split, remedy)


def remedy_of(name: str, recipe: Recipe, root: Path) -> str:
    """The command that prepares a set.

    Args:
      name: name of the set, as the command takes it.
      recipe: recipe of the set.
      root: directory of prepared sets.

    >>> from dst_jax.data.recipes import recipe_of
    >>> remedy_of("mnist", recipe_of("mnist"), Path("/sets"))
    'python -m dst_jax.data prepare mnist --data-dir /sets'
    """
    manual = " --manual-dir FOLDER" if recipe.manual_files else ""
    return f"python -m dst_jax.data prepare {name} --data-dir {root}{manual}"


def incomplete(name: str, missing: Path, remedy: str) -> FileNotFoundError:
    """The error for a set of which a file is missing.

    >>> incomplete("mnist", Path("mnist/1.0.0/a"), "prepare it")
    FileNotFoundError("data set 'mnist' is prepared only in part: ...")
    """
    return FileNotFoundError(
        f"data set {name!r} is prepared only in part: {missing} is missing."
        f" {prepare_anew(missing.parent, remedy)}"
    )


def prepare_anew(folder: Path, remedy: str) -> str:
    """What to do about a folder that is damaged.

    >>> prepare_anew(Path("mnist/1.0.0"), "prepare it")
    'Remove mnist/1.0.0 and run: prepare it'
    """
    return f"Remove {folder} and run: {remedy}"


def _root_of(version: Path, recipe: Recipe) -> Path:
    """The directory of prepared sets that a version's folder is in."""
    return version.parents[len(Path(str(recipe.tfds)).parts)]


def _check_files(name: str, builder: Any, split: str, remedy: str) -> None:
    if split not in builder.info.splits:
        raise ValueError(
            f"data set {name!r} in {builder.data_dir} has no split {split!r}, only:"
            f" {', '.join(sorted(builder.info.splits))}"
        )
    for path in map(Path, builder.info.splits[split].filepaths):
        if not path.exists():
            raise incomplete(name, path, remedy)


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
        raise ValueError(f"{where}: it is empty. {prepare_anew(folder, remedy)}")
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
                    f" {prepare_anew(folder, remedy)}"
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
