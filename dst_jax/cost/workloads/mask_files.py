"""Masks of operands on disk: one .npz that any reader of NumPy's format can use.

A file holds, for the layer at position i of its index (three digits at least):

    000/activation, 000/weight, 000/output    uint8 (rows, bytes), packed masks
    index                                     uint8, JSON in UTF-8

`PackedMask` says how bits are packed, `OperandMasks` what the masks are. The index is
an object with

    format, version    "dst_jax operand masks", 1
    images             number of images
    info               what they are masks of: texts and numbers
    layers             a list in order of execution; of each layer:
      name             module path, as in the report
      kind             "convolution" or "matrix product"
      arrays           prefix of its arrays: "000"
      activation       shape of a row: [batch, *spatial, channel]
      weight           shape of a row: [*tap, channel / groups, filter]
      output           shape of a row: [batch, *out, filter]
      strides, padding, lhs_dilation, rhs_dilation
                       by spatial axis; padding is [low, high], negative ones crop;
                       lhs_dilation above 1 spreads the input (a transposed convolution)
      groups           number of groups; channels and filters are ordered by group
      dynamic          whether the weight depends on data: then it has a row an image,
                       otherwise one row in all
      counts           dense, valid, by_activation, by_weight, effectual: exact
                       multiplications over all images
"""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dst_jax.cost.counting.op_counts import OpCounts
from dst_jax.cost.counting.op_profile import Geometry
from dst_jax.cost.workloads.operand_masks import MaskTraces, OperandMasks, PackedMask
from dst_jax.runs import to_json, write_bytes

__all__ = ["load", "save"]

FORMAT = "dst_jax operand masks"
VERSION = 1
MASKS = ("activation", "weight", "output")


def save(path: str | os.PathLike[str], traces: MaskTraces) -> Path:
    """Writes masks to an .npz file, as a whole or not at all; returns its path.

    The same masks give the same bytes.

    Args:
      path: the file; its name must end in .npz.
      traces: masks of every layer.

    Raises:
      ValueError: the name ends in something else.

    >>> save("masks.txt", MaskTraces({}, 0))
    Traceback (most recent call last):
    ValueError: path must end in .npz, got 'masks.txt'
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"path must end in .npz, got {str(path)!r}")
    index = {
        "format": FORMAT,
        "version": VERSION,
        "images": traces.images,
        "info": dict(traces.info),
        "layers": [
            _described(name, i, layer)
            for i, (name, layer) in enumerate(traces.layers.items())
        ],
    }
    arrays = {
        f"{i:03}/{mask}": getattr(layer, mask).bits
        for i, layer in enumerate(traces.layers.values())
        for mask in MASKS
    }
    text = to_json(index, indent=1).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, index=np.frombuffer(text, np.uint8), **arrays)
    write_bytes(path, buffer.getvalue())
    return path


def load(path: str | os.PathLike[str]) -> MaskTraces:
    """The masks in a file that `save` wrote, every array as it was.

    Args:
      path: the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such file, of another version, or damaged.

    >>> import tempfile
    >>> from dst_jax.cost.counting.op_profile import OpProfile
    >>> from dst_jax.cost.workloads.operand_masks import stack
    >>> x, w = np.ones((1, 2), bool), np.eye(2, dtype=bool)
    >>> traces = stack(2 * [{"fc": OpProfile(x, w, x, Geometry())}])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = load(save(f"{folder}/net.npz", traces))
    >>> again.layers["fc"].weight.mask.tolist(), again.layers["fc"].counts.effectual
    ([[[True, False], [False, True]]], 4)
    """
    path = Path(path)
    try:
        content = io.BytesIO(path.read_bytes())
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        index = json.loads(arrays["index"].tobytes())
        if index["format"] != FORMAT:
            raise ValueError(f"its format is {index['format']!r}")
        if index["version"] != VERSION:
            raise ValueError(f"its version is {index['version']}, not {VERSION}")
        images = int(index["images"])
        layers = {
            str(record["name"]): _layer(record, arrays, images)
            for record in index["layers"]
        }
        return MaskTraces(layers, images, index["info"])
    except KeyError as error:
        raise ValueError(
            f"{path} holds no operand masks: it has no {error.args[0]!r}"
        ) from None
    except (AttributeError, EOFError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no operand masks: {error}") from None
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def _described(name: str, position: int, layer: OperandMasks) -> dict[str, Any]:
    geometry = layer.geometry
    return {
        "name": name,
        "kind": "convolution" if layer.is_convolution else "matrix product",
        "arrays": f"{position:03}",
        **{mask: list(getattr(layer, mask).shape) for mask in MASKS},
        "strides": list(geometry.strides),
        "padding": [list(pair) for pair in geometry.padding],
        "lhs_dilation": list(geometry.lhs_dilation),
        "rhs_dilation": list(geometry.rhs_dilation),
        "groups": geometry.groups,
        "dynamic": geometry.dynamic,
        "counts": {key: int(n) for key, n in layer.counts._asdict().items()},
    }


def _layer(
    record: Mapping[str, Any], arrays: Mapping[str, np.ndarray], images: int
) -> OperandMasks:
    dynamic = bool(record["dynamic"])
    rows = {"activation": images, "weight": images if dynamic else 1, "output": images}
    masks = {
        mask: _mask(
            f"{record['arrays']}/{mask}", arrays, tuple(record[mask]), rows[mask]
        )
        for mask in MASKS
    }
    geometry = Geometry(
        strides=tuple(record["strides"]),
        padding=tuple((low, high) for low, high in record["padding"]),
        lhs_dilation=tuple(record["lhs_dilation"]),
        rhs_dilation=tuple(record["rhs_dilation"]),
        groups=int(record["groups"]),
        dynamic=dynamic,
    )
    counts = OpCounts(*(int(record["counts"][key]) for key in OpCounts._fields))
    return OperandMasks(**masks, geometry=geometry, counts=counts)


def _mask(
    name: str, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...], rows: int
) -> PackedMask:
    bits: UInt8[np.ndarray, "rows bytes"] = arrays[name]
    mask = PackedMask(bits, shape)
    wanted = rows, -(-mask.size // 8)
    if bits.dtype != np.uint8 or bits.shape != wanted:
        raise ValueError(
            f"{name} must be uint8 of shape {wanted}, it is {bits.dtype} {bits.shape}"
        )
    return mask
