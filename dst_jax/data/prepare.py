"""Downloads and prepares a data set as TFDS does, in the array_record format."""

import importlib.util
import os
from pathlib import Path

import tensorflow_datasets as tfds

from dst_jax.data import sources
from dst_jax.data.prepared_sets import place
from dst_jax.data.recipes import MADE, Recipe, recipe_of

__all__ = ["prepare"]

_FILES = ("folder", "arrays")
"""Kinds of data sets that are read from the user's own files."""


def prepare(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    manual_dir: str | os.PathLike[str] | None = None,
) -> Path | None:
    """Downloads and prepares a data set, unless that has been done; returns its folder.

    Only this function needs TensorFlow: TFDS opens archives with it.

    Args:
      name: name of the data set, from `data.names()`, or `tfds:NAME[/CONFIG]`.
      data_dir: directory of prepared sets; by default $TFDS_DATA_DIR, else
        ~/tensorflow_datasets.
      manual_dir: directory of the archives that have to be downloaded by hand; by
        default `downloads/manual` in `data_dir`.

    Returns:
      The folder; that of all sets for one that is drawn from others; None for a set
      that needs no preparation.

    Raises:
      ValueError: there is no such data set, or it is prepared in another format.
      FileNotFoundError: an archive that has to be downloaded by hand is missing, or an
        earlier preparation is incomplete.
      ModuleNotFoundError: TensorFlow is not installed.

    >>> prepare("digits") is None
    True
    """
    kind, _, rest = name.partition(":")
    if name in MADE or kind in _FILES:
        return None
    own = kind == "tfds"
    recipe = place(rest) if own else recipe_of(name)
    if recipe.canvas is not None:
        parts = [
            prepare(part, data_dir=data_dir, manual_dir=manual_dir)
            for part in recipe.canvas.sets
        ]
        return None if parts == [None] else sources.data_directory(data_dir)
    if recipe.tfds is None:
        return None
    root = sources.data_directory(data_dir)
    if not sources.prepared_versions(recipe, root):
        manual = Path(manual_dir or root / "downloads" / "manual").expanduser()
        _check_archives(name, recipe, manual)
        _check_tensorflow()
        _download(recipe, root, manual)
    opened = sources.open_newest if own else sources.find
    return Path(opened(name, recipe, root).data_dir)


def _check_archives(name: str, recipe: Recipe, manual_dir: Path) -> None:
    missing = [f for f in recipe.manual_files if not (manual_dir / f).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{name!r} needs {' and '.join(missing)} in {manual_dir}: download them by"
            f" hand ({recipe.manual_site}, after registration) and name their folder"
            " with --manual-dir"
        )


def _check_tensorflow() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise ModuleNotFoundError(
            "preparing a data set needs TensorFlow (training does not):"
            " pip install 'dst_jax[prepare]'"
        )


def _download(recipe: Recipe, root: Path, manual_dir: Path) -> None:
    builder = tfds.builder(str(recipe.tfds), data_dir=root)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir),
        file_format=tfds.core.FileFormat.ARRAY_RECORD,
    )
