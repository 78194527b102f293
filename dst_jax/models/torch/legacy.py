"""Files of tensors as PyTorch wrote them before 1.6, read without PyTorch.

`torch.save` still writes them with `_use_new_zipfile_serialization=False`. Five pickles
follow each other: a magic number, the version of the format, the sizes of C types, the
object, and the keys of its storages. Then come the storages in this order, each as its
number of elements (int64) and these. A tensor is a storage with an offset, a size and
strides. `dst_jax.models.torch.plain_pickle` reads the pickles: nothing is executed.
"""

import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.lib.stride_tricks import as_strided

from dst_jax.models.torch.plain_pickle import AllowedCall, load

__all__ = ["is_legacy", "read"]

_MAGIC = 0x1950A86A20F9469CFC6C
_START = b"\x80\x02\x8a\x0a" + _MAGIC.to_bytes(10, "little") + b"."
_VERSION = 1001
_AXES = 64  # as many as an array of NumPy may have

_STORAGE_TYPES = {
    "torch DoubleStorage": np.dtype("<f8"),
    "torch FloatStorage": np.dtype("<f4"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
}


def is_legacy(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins as this format does.

    Raises:
      OSError: the file cannot be read.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     is_legacy(file.name)
    False
    """
    with Path(path).open("rb") as file:
        return file.read(len(_START)) == _START


def read(path: str | os.PathLike[str]) -> Any:
    """The object of a file: tensors as arrays, in plain containers.

    Args:
      path: path of a file for which `is_legacy` is true.

    Returns:
      What was saved: dicts (also for `OrderedDict`), lists, tuples, texts, numbers, and
      read-only arrays of the tensors' dtypes.

    Raises:
      OSError: the file cannot be read.
      ValueError: the file is cut short or contradicts itself, or it holds or names
        anything but tensors and plain containers.
    """
    content = Path(path).read_bytes()
    file = io.BytesIO(content)
    if load(file, names={}) != _MAGIC or load(file, names={}) != _VERSION:
        raise ValueError(f"it is not of version {_VERSION} of the format")
    system = load(file, names={})
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it is not from a little-endian machine")
    storages = _Storages(limit=len(content))
    names = {**_FUNCTIONS, **_STORAGE_TYPES}
    found = load(file, names=names, persistent=storages.promised)
    storages.fill(file, keys=load(file, names={}))
    return found


@dataclass(frozen=True)
class _Storage:
    """Elements that tensors share; filled when the pickles have been read."""

    values: np.ndarray


class _Storages:
    """The storages that a pickle refers to, and then their contents."""

    def __init__(self, *, limit: int) -> None:
        self._left = limit  # bytes that all of them can have together
        self._by_key: dict[str, _Storage] = {}

    def promised(self, reference: Any) -> _Storage:
        """The storage of a persistent id, still without its contents."""
        kind, *rest = reference if isinstance(reference, tuple) and reference else ("",)
        if kind == "module":
            raise ValueError("it holds a module: save its state_dict() instead")
        if kind != "storage" or len(rest) != 5 or rest[4] is not None:
            raise ValueError("it refers to what is no storage of its own")
        dtype, key, _, size, _ = rest
        if not isinstance(dtype, np.dtype) or not isinstance(key, str):
            raise ValueError("it refers to a storage without type or key")
        (size,) = _whole((size,), "size of a storage")
        known = self._by_key.get(key)
        if known is None:
            self._left -= size * dtype.itemsize
            if self._left < 0:
                raise ValueError("its storages are longer than the file")
            known = _Storage(np.zeros(size, dtype))
            self._by_key[key] = known
        if known.values.dtype != dtype or known.values.size != size:
            raise ValueError(f"it describes the storage {key[:40]!r} in two ways")
        return known

    def fill(self, file: io.BytesIO, *, keys: Any) -> None:
        """Reads the contents of all storages, with which the file must end."""
        texts = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not texts or sorted(keys) != sorted(self._by_key):
            raise ValueError("its list of storages is not that of its tensors")
        for key in keys:
            values = self._by_key[key].values
            size = int.from_bytes(file.read(8), "little", signed=True)
            content = file.read(values.nbytes)
            if size != values.size or len(content) != values.nbytes:
                raise ValueError(f"the storage {key[:40]!r} is cut short")
            raw = "u1" if values.dtype == bool else values.dtype
            values[:] = np.frombuffer(content, raw)
        if file.read(1):
            raise ValueError("it goes on after its last storage")


def _tensor(arguments: tuple[Any, ...]) -> np.ndarray:
    """`torch._utils._rebuild_tensor_v2`: a view of a storage within its bounds."""
    if len(arguments) < 4 or not isinstance(arguments[0], _Storage):
        raise ValueError("it has a tensor without a storage")
    values = arguments[0].values
    (offset,) = _whole((arguments[1],), "offset of a tensor")
    size = _whole(arguments[2], "size of a tensor")
    strides = _whole(arguments[3], "strides of a tensor")
    if len(size) != len(strides) or len(size) > _AXES:
        raise ValueError(f"a tensor has {len(size)} axes and {len(strides)} strides")
    # Those of axes of length 1 say nothing.
    strides = [s if n > 1 else 0 for n, s in zip(size, strides, strict=True)]
    count = math.prod(size)
    end = offset + sum((n - 1) * s for n, s in zip(size, strides, strict=True)) + 1
    if count == 0:
        return np.zeros(size, values.dtype)
    if end > values.size or count > values.size:
        raise ValueError(
            f"a tensor of {count} elements ends at {end} of a storage of {values.size}:"
            " it is damaged, or expanded (save its clone() instead)"
        )
    itemsize = values.itemsize
    steps = tuple(stride * itemsize for stride in strides)
    return as_strided(values[offset:], size, steps, writeable=False)


def _parameter(arguments: tuple[Any, ...]) -> np.ndarray:
    """`torch._utils._rebuild_parameter`: the tensor of a parameter."""
    if not arguments or not isinstance(arguments[0], np.ndarray):
        raise ValueError("it has a parameter without a tensor")
    return arguments[0]


def _ordered(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """An empty `collections.OrderedDict`, whose items follow."""
    if arguments:
        raise ValueError("it makes a dict of what is no plain container")
    return {}


def _size(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """`torch.Size` of whole numbers."""
    return _whole(arguments[0] if arguments else (), "torch.Size")


def _whole(numbers: Any, what: str) -> tuple[int, ...]:
    """The numbers, if they are whole and not negative."""
    if type(numbers) not in (tuple, list) or not all(
        type(number) is int and number >= 0 for number in numbers
    ):
        raise ValueError(f"the {what} must be whole numbers of at least 0")
    return tuple(numbers)


_FUNCTIONS: Mapping[str, AllowedCall] = {
    "collections OrderedDict": AllowedCall(_ordered),
    "torch Size": AllowedCall(_size),
    "torch._utils _rebuild_parameter": AllowedCall(_parameter),
    "torch._utils _rebuild_tensor": AllowedCall(_tensor),
    "torch._utils _rebuild_tensor_v2": AllowedCall(_tensor),
}
