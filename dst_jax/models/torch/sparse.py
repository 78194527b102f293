"""Arrays stored without their zeros: as a bitmask or compressed sparse rows.

An array is a matrix of (first axis, all others): (out, in * kh * kw) for a convolution
in PyTorch's layout. Every element that differs from +0.0 in any bit is stored, so that
-0.0 and NaN are restored exactly. Weights multiplied by a mask contain -0.0; the result
of `pruning.masks.apply` does not.

    bitmask   shape            int64
              bitmask          uint8, bit i of the flat array is bit i % 8 (lowest
                               first) of byte i // 8
              values           elements whose bit is 1, in order
    csr       shape            int64
              row_pointers     start of each row in `values`, then their number
              column_indices   column of each value, increasing in a row
              values           row by row

Pointers and indices have the smallest unsigned type that holds the largest of them.
"""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np

__all__ = ["PARTS", "Compression", "compress", "restore"]

Compression = Literal["bitmask", "csr"]

PARTS: Mapping[str, tuple[str, ...]] = {
    "bitmask": ("shape", "bitmask", "values"),
    "csr": ("shape", "row_pointers", "column_indices", "values"),
}


def compress(array: np.ndarray, form: Compression) -> dict[str, np.ndarray]:
    """The parts of an array by name, without its zeros.

    Args:
      array: array of at least one axis and any dtype of 1, 2, 4 or 8 bytes.
      form: form of the result, "bitmask" or "csr".

    >>> parts = compress(np.array([[0.0, 5.0], [0.0, 0.0]], np.float32), "csr")
    >>> [parts[k].tolist() for k in ("row_pointers", "column_indices", "values")]
    [[0, 1, 1], [1], [5.0]]
    """
    array = np.ascontiguousarray(array)
    kept = array.view(f"u{array.itemsize}") != 0
    parts: dict[str, np.ndarray] = {"shape": np.array(array.shape, np.int64)}
    if form == "bitmask":
        parts["bitmask"] = np.packbits(kept.reshape(-1), bitorder="little")
    else:
        matrix = kept.reshape(len(kept), math.prod(kept.shape[1:]))
        pointers = np.concatenate([[0], np.cumsum(matrix.sum(1))])
        parts["row_pointers"] = _narrow(pointers)
        parts["column_indices"] = _narrow(np.nonzero(matrix)[1])
    return {**parts, "values": array[kept]}


def restore(parts: Mapping[str, np.ndarray], form: Compression) -> np.ndarray:
    """The array that was compressed, exactly.

    Raises:
      ValueError: a part is missing or contradicts another.

    >>> array = np.array([0.0, -0.0, 3.0], np.float32)
    >>> restore(compress(array, "bitmask"), "bitmask").tolist()
    [0.0, -0.0, 3.0]
    """
    missing = [part for part in PARTS[form] if part not in parts]
    if missing:
        raise ValueError(f"has no part {', '.join(missing)}")
    shape, values = _shape(parts["shape"]), parts["values"]
    if values.ndim != 1:
        raise ValueError(f"values must have one axis, got shape {values.shape}")
    if form == "bitmask":
        places = _marked(parts["bitmask"], math.prod(shape))
    else:
        places = _indexed(parts["row_pointers"], parts["column_indices"], shape)
    if len(places) != len(values):
        raise ValueError(f"has places for {len(places)} values, but {len(values)}")
    array = np.zeros(math.prod(shape), values.dtype)
    array[places] = values
    return array.reshape(shape)


def _narrow(whole: np.ndarray) -> np.ndarray:
    return whole.astype(np.min_scalar_type(int(whole.max(initial=0))))


def _shape(found: np.ndarray) -> tuple[int, ...]:
    if found.ndim != 1 or found.dtype.kind not in "iu" or (found < 0).any():
        raise ValueError(f"shape must be whole numbers >= 0, got {found.tolist()}")
    return tuple(found.tolist())


def _marked(bits: np.ndarray, size: int) -> np.ndarray:
    """The positions of the bits that are 1."""
    if bits.dtype != np.uint8 or bits.shape != (-(-size // 8),):
        raise ValueError(
            f"bitmask must be {-(-size // 8)} bytes for {size} elements, got"
            f" {bits.dtype} {bits.shape}"
        )
    marked = np.unpackbits(bits, bitorder="little").astype(bool)
    if marked[size:].any():
        raise ValueError(f"bitmask marks elements beyond its {size}")
    return np.flatnonzero(marked[:size])


def _indexed(
    pointers: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """The positions of the values in the flat array."""
    if not shape or math.prod(shape) >= 2**63:
        raise ValueError(f"shape must have an axis and fit into memory, got {shape}")
    for name, part in (("row_pointers", pointers), ("column_indices", columns)):
        if part.ndim != 1 or part.dtype.kind != "u":
            raise ValueError(f"{name} must be unsigned, got {part.dtype} {part.shape}")
    rows, width = shape[0], math.prod(shape[1:])
    pointers = pointers.astype(np.int64)
    per_row = np.diff(pointers)
    if len(pointers) != rows + 1 or pointers[0] != 0 or (per_row < 0).any():
        raise ValueError(f"row_pointers must rise from 0 over {rows} rows")
    if pointers[-1] != len(columns) or (columns >= width).any():
        raise ValueError(f"column_indices must be {pointers[-1]} below {width}")
    places = np.repeat(np.arange(rows), per_row) * width + columns.astype(np.int64)
    if (np.diff(places) <= 0).any():
        raise ValueError("column_indices must increase in a row")
    return places
