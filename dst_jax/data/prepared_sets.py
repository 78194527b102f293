"""Any prepared set of TFDS that has an image and a label: `tfds:NAME[/CONFIG]`."""

import os
from dataclasses import replace
from typing import Any, Unpack

import numpy as np
import tensorflow_datasets as tfds

from dst_jax.data import sources
from dst_jax.data.datasets import Dataset
from dst_jax.data.own_sets import SetOptions, from_sources
from dst_jax.data.recipe import Recipe
from dst_jax.data.set_checks import check_splits
from dst_jax.data.source import Source

__all__ = ["load", "place"]

_TESTS = ("test", "validation", "val", "valid")
"""Names of splits that can be reported on, the first of them that there is."""

_PIXELS = ("uint8", "uint16")


def load(
    path: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    **options: Unpack[SetOptions],
) -> Dataset:
    """The newest prepared version of a set, as TFDS has written it.

    The splits are `train` and `test`, else `validation`; with both, the second is the
    hold-out. A test split without labels (-1) is left out. Without any, a fifth of
    `train` is tested on.

    Args:
      path: name of the set and, if it has some, of its configuration.
      data_dir: directory of prepared sets; by default $TFDS_DATA_DIR, else
        ~/tensorflow_datasets.
      **options: options of `data.from_sources`.

    Raises:
      FileNotFoundError: the set is not prepared; gives the command.
      ValueError: the set has not one image and one label, or it is damaged.

    >>> load("tf_flowers", data_dir="nowhere")
    Traceback (most recent call last):
    FileNotFoundError: data set 'tfds:tf_flowers' is not prepared: ...
    """
    name = f"tfds:{path}"
    recipe = place(path)
    builder = sources.open_newest(name, recipe, data_dir)
    recipe = _with_features(name, builder, recipe)
    splits = [x for x in ("train", *_TESTS) if x in builder.info.splits or x == "train"]
    check_splits(name, builder, recipe, splits)
    opened = {x: sources.open_split(builder, x, recipe) for x in splits}
    tests = [source for x, source in opened.items() if x != "train" and _said(source)]
    return from_sources(
        opened["train"],
        *tests[:1],
        apart=tests[1] if len(tests) > 1 else None,
        class_names=sources.class_names(builder, recipe),
        name=name,
        origin=sources.origin(builder),
        **options,
    )


def place(path: str) -> Recipe:
    """A recipe that says where a set is, and nothing yet of what it holds.

    Args:
      path: name of the set and, if it has some, of its configuration.

    Raises:
      ValueError: the name has another form.

    >>> place("imagenette/160px-v2").tfds
    'imagenette/160px-v2'
    """
    parts = path.split("/")
    plain = all(x not in ("", ".", "..") for x in parts)
    if not plain or len(parts) > 2:
        raise ValueError(
            f"data set 'tfds:{path}' must be tfds:NAME or tfds:NAME/CONFIG"
        )
    return Recipe(
        tfds=path,
        train_split="train",
        test_split="test",
        num_classes=0,
        image_size=0,
        channels=3,
        mean=(0.0,) * 3,
        std=(1.0,) * 3,
    )


def _with_features(name: str, builder: Any, recipe: Recipe) -> Recipe:
    """The recipe with the names of the image and of the label."""
    features = builder.info.features
    known: dict[str, Any] = {}
    if isinstance(features, tfds.features.FeaturesDict):
        known = dict(features)
    where = f"data set {name!r} in {builder.data_dir}"
    image = _only(where, known, "image", tfds.features.Image)
    label = _only(where, known, "label", tfds.features.ClassLabel)
    pixels = np.dtype(known[image].np_dtype).name
    if pixels not in _PIXELS:
        raise ValueError(
            f"{where}: the feature {image!r} must be an image of"
            f" {' or '.join(_PIXELS)}, got {pixels}"
        )
    return replace(
        recipe,
        image_feature=image,
        label_feature=label,
        num_classes=known[label].num_classes,
    )


def _only(where: str, known: dict[str, Any], usual: str, kind: type) -> str:
    """The feature of a kind: the one that is called as usual, or the only one."""
    found = sorted(x for x, feature in known.items() if isinstance(feature, kind))
    if usual in found:
        return usual
    if len(found) != 1:
        raise ValueError(
            f"{where} must have one {kind.__name__}, or one that is called {usual!r},"
            f" got {found or 'none'} of the features {sorted(known)}"
        )
    return found[0]


def _said(source: Source) -> bool:
    """Whether the labels of a split are public: others are -1."""
    return int(source[0]["label"]) >= 0
