"""Safetensors files: read without PyTorch, written completely or not at all.

The metadata of a compressed file say so: `compression` is `bitmask` or `csr`, and
`compressed` is the JSON list of the tensors that are stored in parts
(`fc.weight.bitmask`, `fc.weight.values`, ...; see `dst_jax.models.torch.sparse`).
Reading joins the parts again.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  - gives NumPy the bfloat16 that a file may hold
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dst_jax.models.torch import sparse as torch_sparse

__all__ = ["read", "write"]


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file by name, compressed ones restored.

    Args:
      path: path of the file.

    Returns:
      Arrays of the dtypes in the file.

    Raises:
      OSError: the file cannot be opened.
      ValueError: it is not a sound safetensors file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = write(f"{folder}/net.safetensors", {"bias": np.ones(2)}, {})
    ...     read(f"{folder}/net.safetensors")["bias"].tolist()
    [1.0, 1.0]
    """
    path = Path(path)
    try:
        with safe_open(path, framework="numpy") as file:
            _refuse_duplicates(path)
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _restored(tensors, metadata)
    # AttributeError: a dtype that NumPy has no name for.
    # RecursionError: lists in lists in the names of what is compressed.
    except (
        *(SafetensorError, AttributeError, ValueError, MemoryError),
        RecursionError,
    ) as error:
        raise ValueError(f"{path} is not a sound safetensors file: {error}") from None


def write(
    path: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
) -> int:
    """Writes a file and returns its size in bytes; on an error, an old file stays.

    Its permissions are those of any new file.

    Args:
      path: path of the file.
      tensors: arrays by name.
      metadata: strings by name, for the header.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(f"{folder}/net.safetensors", {"bias": np.ones(2)}, {}) > 16
    True
    """
    path = Path(path)
    # save_file writes the memory of an array and ignores its strides.
    packed = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    scratch = path.with_name(path.name + ".tmp")
    try:
        scratch.touch()
        mode = scratch.stat().st_mode
        save_file(packed, scratch, metadata=dict(metadata))
        scratch.chmod(mode)  # the library makes files that the owner alone can read
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    return path.stat().st_size


def _refuse_duplicates(path: Path) -> None:
    """Refuses several entries of one name, of which the library keeps the last.

    It is called when the library has read the header without an error.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = [name for name, n in Counter(k for k, _ in pairs).items() if n > 1]
        if twice:
            raise ValueError(f"it has more than one {', '.join(twice)}")
        return dict(pairs)

    json.loads(header, object_pairs_hook=unique)


def _restored(
    tensors: dict[str, np.ndarray], metadata: Mapping[str, str]
) -> dict[str, np.ndarray]:
    form = metadata.get("compression")
    if form is None:
        return tensors
    if form != "bitmask" and form != "csr":
        raise ValueError(f"its compression must be bitmask or csr, got {form!r}")
    whole = dict(tensors)
    for name in _compressed_names(metadata):
        parts = {
            part: whole.pop(f"{name}.{part}")
            for part in torch_sparse.PARTS[form]
            if f"{name}.{part}" in whole
        }
        if name in whole:
            raise ValueError(f"it has {name} both whole and in parts")
        try:
            whole[name] = torch_sparse.restore(parts, form)
        except ValueError as error:
            raise ValueError(f"{name} {error}") from None
    return whole


def _compressed_names(metadata: Mapping[str, str]) -> list[str]:
    names = json.loads(metadata.get("compressed", "null"))
    if not isinstance(names, list) or not all(isinstance(n, str) for n in names):
        raise ValueError(f"its list of compressed tensors must be names, got {names!r}")
    return names
