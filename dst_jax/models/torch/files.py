"""State dicts as arrays, from a file, a mapping or a module, without executing code."""

import importlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dst_jax.models.torch import compressed as torch_safetensors
from dst_jax.models.torch import legacy as torch_legacy

__all__ = ["arrays_of", "read"]

_PICKLES = (".pth", ".pt", ".bin")
_SUFFIXES = (".safetensors", *_PICKLES)
_INSIDE = ("state_dict", "model_state_dict", "model")
# Before 2.10 a crafted file could corrupt memory even with weights_only=True
# (CVE-2026-24747).
_OLDEST_TORCH = (2, 10)

_log = logging.getLogger(__name__)


def read(path: str | os.PathLike[str]) -> Mapping[Any, Any]:
    """The contents of a checkpoint: tensors by name, or a mapping that holds them.

    `.safetensors` is read without PyTorch, and so are `.pth`, `.pt` and `.bin` in the
    format that PyTorch wrote before 1.6. Newer ones are read with
    `torch.load(weights_only=True)` only. Both build tensors and plain containers and
    call no function that the file names.

    Args:
      path: path of the file.

    Raises:
      FileNotFoundError: there is no such file.
      ModuleNotFoundError: the file needs PyTorch, which is not installed.
      ValueError: the path is a directory or has another suffix, or the contents do not
        agree with the suffix.

    >>> read("weights.h5")
    Traceback (most recent call last):
    ValueError: weights.h5 must end in one of .safetensors, .pth, .pt, .bin
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a directory: name the file of weights in it")
    if path.suffix not in _SUFFIXES:
        raise ValueError(f"{path} must end in one of {', '.join(_SUFFIXES)}")
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if path.suffix not in _PICKLES:
        return torch_safetensors.read(path)
    legacy = torch_legacy.is_legacy(path)
    found = _read_legacy(path) if legacy else _read_pickle(path)
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} holds a {type(found).__name__}, not a state dict")
    return found


def arrays_of(source: Any) -> tuple[dict[str, np.ndarray], list[str]]:
    """The tensors of a state dict as NumPy arrays.

    Args:
      source: tensors by name (of NumPy, JAX or PyTorch); a mapping that holds such a
        state dict as `state_dict`, `model_state_dict` or `model` (the other entries are
        logged and not used); or an object with `state_dict()`.

    Returns:
      `(arrays, others)`. Tensors of PyTorch in bfloat16, float16 and float8 become
      float32; `others` describes the entries that are not dense tensors.

    Raises:
      TypeError: `source` is none of these.

    >>> arrays, others = arrays_of({"state_dict": {"bias": np.ones(2), "epoch": 3}})
    >>> list(arrays), others
    (['bias'], ["'epoch' is a int"])
    """
    if callable(getattr(source, "state_dict", None)):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        raise TypeError(
            "state_dict must map names to tensors or have a state_dict(), got"
            f" {type(source).__name__}"
        )
    arrays: dict[str, np.ndarray] = {}
    others: list[str] = []
    for name, value in _unwrap(source).items():
        array = _array(value) if isinstance(name, str) else None
        if array is None:
            others.append(f"{name!r} is a {type(value).__name__}")
        else:
            arrays[name] = array
    return arrays, others


def _read_pickle(path: Path) -> Any:
    try:
        # Not an import statement: the types are checked without PyTorch as well.
        torch: Any = importlib.import_module("torch")
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"{path} needs PyTorch: pip install 'dst_jax[torch]', or save the weights"
            " as .safetensors"
        ) from None
    version = tuple(int(n) for n in torch.__version__.split(".")[:2])
    if version < _OLDEST_TORCH:
        raise ModuleNotFoundError(
            f"{path} needs PyTorch 2.10 or newer, found {torch.__version__}: older ones"
            " may run code from a file that was made to"
        )
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # For a damaged file, torch.load may raise any error.
    except Exception as error:
        raise _refusal(path, error) from None


def _read_legacy(path: Path) -> Any:
    try:
        return torch_legacy.read(path)
    except (ValueError, OverflowError, MemoryError) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> ValueError:
    reason = str(error).strip().split("\n")[0]
    return ValueError(
        f"{path} is not a plain file of tensors ({type(error).__name__}: {reason})."
        " Nothing in it was executed. Only tensors and containers of them are read: if"
        " you trust its origin, save its state dict alone anew"
    )


def _unwrap(source: Mapping[Any, Any]) -> Mapping[Any, Any]:
    inside = [key for key in _INSIDE if isinstance(source.get(key), Mapping)]
    if not inside:
        return source
    rest = sorted(str(key) for key in source if key != inside[0])
    _log.info("using the entry %r; left: %s", inside[0], ", ".join(rest) or "nothing")
    return source[inside[0]]


def _array(value: Any) -> np.ndarray | None:
    """The value as an array, or None if it is not a dense tensor."""
    if hasattr(value, "detach"):  # a tensor of PyTorch, without importing it
        try:
            value = value.detach().cpu()
            return (value.float() if value.is_floating_point() else value).numpy()
        except (TypeError, RuntimeError):  # sparse, quantised, or without memory
            return None
    return np.asarray(value) if isinstance(value, np.ndarray | jax.Array) else None
