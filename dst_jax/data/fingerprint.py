"""What tells one state of a data set from another."""

import hashlib
from typing import Any

import numpy as np

from dst_jax.data.datasets import Dataset, Split
from dst_jax.data.records import DecodedRecords

__all__ = ["fingerprint"]


def fingerprint(dataset: Dataset) -> dict[str, Any]:
    """What a run records of its data, to say later that they have changed.

    Args:
      dataset: an open data set.

    Returns:
      Its `name`, numbers of `examples` by split, `image_shape`, `num_classes`, `mean`
      and `std`; `class_names`, where they are known; the `version` and the SHA-256 of
      dataset_info.json of a prepared set; the SHA-256 of the names and sizes of
      `files`; the SHA-256 of the `pixels` and labels of a set that is in memory.

    >>> from dst_jax import data
    >>> found = fingerprint(data.load("digits"))
    >>> found["name"], found["examples"]
    ('digits', {'train': 1078, 'holdout': 120, 'test': 599})
    """
    splits = {
        "train": dataset.train,
        "holdout": dataset.holdout,
        "test": dataset.test,
    }
    own = [dataset.train, dataset.test]
    if dataset.holdout and dataset.holdout.records is not dataset.train.records:
        own.append(dataset.holdout)
    pixels = _pixels(own)
    names = list(dataset.class_names)
    return {
        "name": dataset.name,
        "examples": {k: len(x) for k, x in splits.items() if x is not None},
        "image_shape": list(dataset.image_shape),
        "num_classes": dataset.num_classes,
        "mean": list(dataset.mean),
        "std": list(dataset.std),
        **({"class_names": names} if names else {}),
        **dataset.origin,
        **({} if pixels is None else {"pixels": pixels}),
    }


def _pixels(splits: list[Split]) -> str | None:
    """A digest of what is in memory; None if images are decoded on every access."""
    digest = hashlib.sha256()
    for split in splits:
        if not isinstance(split.records, DecodedRecords):
            return None
        digest.update(np.ascontiguousarray(split.records.images).data)
        digest.update(np.ascontiguousarray(split.records.labels).data)
    return digest.hexdigest()
