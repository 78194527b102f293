"""Weights of a network with PyTorch's names and layout, in safetensors files."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import le
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import flax.linen as nn
import numpy as np

from dst_jax import checks
from dst_jax.activations.tap import PATTERNS, THRESHOLDS
from dst_jax.models.linen import Linen
from dst_jax.models.torch import compressed as torch_safetensors
from dst_jax.models.torch import sparse as torch_sparse
from dst_jax.models.torch.layout import Layout, Leaf, layout_of, to_torch
from dst_jax.parametrisations import GATES
from dst_jax.trees import named_leaves
from dst_jax.typing import Mask, Network

__all__ = ["Format", "Saved", "save_safetensors", "state_dict"]

# Gates that a round of relaxation hands on are in the weights already; PyTorch's code
# has no names for what taps read.
_LEFT_OUT = (GATES, THRESHOLDS, PATTERNS)

Format = Literal["dense", "bitmask", "csr"]
"""How a file stores a tensor: all values, or the nonzero ones and where they are."""


class Saved(NamedTuple):
    """The written files, with the sizes that the file system reports."""

    path: Path
    bytes: int
    masks_path: Path | None
    masks_bytes: int | None


def state_dict(
    model_name: str, variables: Mapping[str, Any] | Network, **network: Any
) -> dict[str, np.ndarray]:
    """The arrays of a network with PyTorch's names and layout.

    `net.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(...).items()})`
    is strict and succeeds, because PyTorch adds `num_batches_tracked` by itself.
    Thresholds and patterns of activation maps are not among them: `model_card` has
    them, and programs (`stablehlo`, `onnx`) compute with them.

    Args:
      model_name: name of the network, from `models.names()`.
      variables: the network, or its variables `{"params": ..., "batch_stats": ...}`. A
        `Network` whose model is no Linen module may be smaller than the named one.
      **network: options `num_classes`, `input_shape` and those of `models.create`, as
        in `importer.variables`.

    Returns:
      Contiguous NumPy arrays by PyTorch name, of the dtypes in `variables`.

    Raises:
      ValueError: the variables do not fit the network; the message lists all missing
        and unknown names and wrong shapes.

    >>> state_dict("lenet5", {})
    Traceback (most recent call last):
    ValueError: variables do not fit lenet5: params/conv1/bias: the network has ...
    """
    found = _fitted(layout_of(model_name, **network), variables)
    return {name: to_torch(array, leaf) for name, (leaf, array) in found.items()}


def save_safetensors(
    path: str | os.PathLike[str],
    model_name: str,
    variables: Mapping[str, Any] | Network,
    *,
    masks: Mask = None,
    format: Format = "dense",
    **network: Any,
) -> Saved:
    """Writes a network as a safetensors file, and its masks next to it.

    PyTorch can load a dense file. In the compressed formats, every tensor of two or
    more axes that becomes smaller is stored without its zeros, see
    `dst_jax.models.torch.sparse`; `load_compressed` and `importer.load` restore it
    exactly.

    Args:
      path: path of the file, which ends in `.safetensors`.
      model_name: name of the network, from `models.names()`.
      variables: the network or its variables, as in `state_dict`.
      masks: bool masks shaped like the parameters; `None` = never pruned. They are
        written to `NAME.masks.safetensors` under the names of their weights. If not
        given, a `Network` has its own.
      format: format of the file: "dense", "bitmask" or "csr".
      **network: options `num_classes`, `input_shape` and those of `models.create`, as
        in `importer.variables`.

    Returns:
      Paths and sizes in bytes, as measured on disk.

    Raises:
      ValueError: the variables do not fit the network, a pruned weight is not 0, or an
        argument is out of range.

    >>> import tempfile
    >>> from dst_jax.models.torch import importer
    >>> leaves = layout_of("lenet5").leaves
    >>> ones = {name: np.ones(leaf.torch_shape) for name, leaf in leaves.items()}
    >>> variables = importer.variables("lenet5", ones)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/lenet5.safetensors"
    ...     saved = save_safetensors(path, "lenet5", variables)
    >>> saved.bytes > 4 * 44_426  # parameters of float32, and a header
    True
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}")
    checks.one_of("format", format, get_args(Format))
    found = _fitted(layout_of(model_name, **network), variables)
    tensors = {name: to_torch(array, leaf) for name, (leaf, array) in found.items()}
    if masks is None and isinstance(variables, Network):
        masks = variables.mask
    leaves = [leaf for leaf, _ in found.values()]
    pruned = None if masks is None else _mask_dict(leaves, masks, tensors)
    # "pt" is what Hugging Face's loaders look for: tensors in PyTorch's layout.
    metadata = {"format": "pt", "model": model_name}
    if format == "dense":
        size = torch_safetensors.write(path, tensors, metadata)
    else:
        stored, names = _compressed(tensors, format)
        about = {"compression": format, "compressed": json.dumps(names)}
        size = torch_safetensors.write(path, stored, {**metadata, **about})
    if pruned is None:
        return Saved(path, size, None, None)
    masks_path = path.with_suffix(".masks.safetensors")
    masks_size = torch_safetensors.write(masks_path, pruned, metadata)
    return Saved(path, size, masks_path, masks_size)


def _compressed(
    tensors: Mapping[str, np.ndarray], form: torch_sparse.Compression
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors, those that become smaller in parts, and the names of the latter."""
    stored: dict[str, np.ndarray] = {}
    names = []
    for name, array in tensors.items():
        parts = torch_sparse.compress(array, form) if array.ndim >= 2 else {}
        if parts and sum(part.nbytes for part in parts.values()) < array.nbytes:
            stored |= {f"{name}.{part}": value for part, value in parts.items()}
            names.append(name)
        else:
            stored[name] = array
    return stored, names


def _mask_dict(
    layout: Sequence[Leaf], masks: Mask, tensors: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The masks in PyTorch's layout, checked against the weights."""
    leaves = {leaf.path: leaf for leaf in layout}
    out: dict[str, np.ndarray] = {}
    for path, mask in named_leaves({"params": masks}).items():
        leaf = leaves.get(path)
        if leaf is None or mask.shape != leaf.shape or mask.dtype != bool:
            allowed = f"must be bool {leaf.shape}" if leaf else "is no parameter"
            raise ValueError(f"masks: {path} is {mask.dtype} {mask.shape}, {allowed}")
        out[leaf.name] = to_torch(mask, leaf)
        alive = np.count_nonzero(tensors[leaf.name][~out[leaf.name]])
        if alive:
            raise ValueError(
                f"masks: {alive} weights of {path} are pruned by the mask and not 0;"
                " apply it first (dst_jax.pruning.masks.apply)"
            )
    return out


def _fitted(
    layout: Layout, variables: Mapping[str, Any] | Network
) -> dict[str, tuple[Leaf, Any]]:
    """By PyTorch name: the leaf with the shape of its array, and the array."""
    smaller = False
    if isinstance(variables, Network):
        smaller = not isinstance(variables.model, Linen | nn.Module)
        variables = variables.variables
    found = named_leaves({k: v for k, v in variables.items() if k not in _LEFT_OUT})
    needed = {leaf.path: leaf.shape for leaf in layout.leaves.values()}
    have = {path: np.shape(array) for path, array in found.items()}
    wrong = [
        f"{path}: the network has {needed.get(path)}, the variables {have.get(path)}"
        for path in sorted(needed.keys() | have.keys())
        if not _fits(needed.get(path), have.get(path), smaller=smaller)
    ]
    if wrong:
        raise ValueError(
            f"variables do not fit {layout.model_name}: {'; '.join(wrong)}"
        )
    return {
        name: (replace(leaf, shape=have[leaf.path]), found[leaf.path])
        for name, leaf in layout.leaves.items()
    }


def _fits(
    needed: tuple[int, ...] | None, have: tuple[int, ...] | None, *, smaller: bool
) -> bool:
    if needed is None or have is None or not smaller:
        return needed == have
    return len(needed) == len(have) and all(map(le, have, needed))
