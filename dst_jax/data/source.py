"""What a source of labelled images must offer, and how a record of it is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from dst_jax.data.corrupt import reading

__all__ = ["Source", "Subset", "read_chunk", "read_many", "read_record", "record_key"]


@runtime_checkable
class Source(Protocol):
    """Labelled images of one split by index: a data source of TFDS, a list, your own.

    A record is a mapping with

      image: the bytes of a PNG or JPEG file, or pixels, uint8[h, w] or uint8[h, w, c]
        with 1, 3 or 4 channels, of which the fourth is left out.
      label: class of the image, an integer; where each pixel has a label, the bytes of
        a PNG file of the image's size.
      file_name, image_id or id: optional name of the record, for messages.

    Records are read by several threads at the same time, and in any order. An error
    while one is read counts as a corrupt record. A source may also have
    `__getitems__(indices: list[int])`, which reads many records at once.

    >>> isinstance([{"image": np.zeros((8, 8), np.uint8), "label": 3}], Source)
    True
    """

    def __len__(self) -> int:
        """The number of records."""
        ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]:
        """The record at an index in [0, len(source))."""
        ...


@dataclass(frozen=True, eq=False)
class Subset:
    """Some records of a source.

    Attributes:
      source: the source.
      indices: index of each record in the source.

    >>> Subset([{"label": 3}, {"label": 4}], np.array([1]))[0]
    {'label': 4}
    """

    source: Source
    indices: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self.source[int(self.indices[index])]

    def __getitems__(self, indices: list[int]) -> Sequence[Mapping[str, Any]]:
        return read_many(self.source, [int(self.indices[i]) for i in indices])


def read_chunk(
    source: Source, indices: Sequence[int]
) -> Sequence[Mapping[str, Any] | None]:
    """The records at some indices; a None for each if one of them is not readable.

    Args:
      source: data source.
      indices: indices of the records.

    >>> read_chunk([{"label": 7}], [0]), read_chunk([], [0, 1])
    ([{'label': 7}], [None, None])
    """
    try:
        return read_many(source, list(indices))
    except Exception:  # any kind, see corrupt.reading; each is then read alone
        return [None] * len(indices)


def read_many(source: Source, indices: list[int]) -> Sequence[Mapping[str, Any]]:
    """The records at some indices, read at once if the source can do that.

    Args:
      source: data source.
      indices: indices of the records.

    >>> read_many([{"label": 7}, {"label": 8}], [1])
    [{'label': 8}]
    """
    many = getattr(source, "__getitems__", None)
    return [source[i] for i in indices] if many is None else many(indices)


def read_record(source: Source, index: int, name: str) -> Mapping[str, Any]:
    """A record of a source.

    Args:
      source: data source.
      index: index of the record.
      name: name of the split, for the keys of corrupt records.

    Raises:
      CorruptRecord: the record cannot be read.

    >>> read_record([{"label": 7}], 0, "mnist train")["label"]
    7
    """
    with reading(f"{name}[{index}]"):
        return source[index]


def record_key(name: str, index: int, record: Mapping[str, Any]) -> str:
    """`name[index]`, and the record's own name where the data set has one.

    >>> record_key("pets train", 3, {"file_name": b"pug_3.jpg"})
    'pets train[3] (file_name pug_3.jpg)'
    """
    for field in ("file_name", "image_id", "id"):
        if field in record:
            own = record[field]
            own = own.decode(errors="replace") if isinstance(own, bytes) else own
            return f"{name}[{index}] ({field} {own})"
    return f"{name}[{index}]"
