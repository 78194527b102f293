"""Imports weights of PyTorch: torchvision's, timm's, Hugging Face's, or your own.

    load("resnet18", "resnet18.safetensors")              # needs no PyTorch
    load("resnet18", "cifar.pth", num_classes=10, stem="cifar")
    variables("resnet50", torchvision.models.resnet50(weights="DEFAULT"))

Networks and layers are the same on both sides: padding, epsilon, momentum, the order in
which maps are flattened. Only names and axes have to be converted.
`dst_jax.models.torch.names` lists the known names, `dst_jax.models.torch.layout` says
how axes change.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dst_jax.models.torch import files as torch_files
from dst_jax.models.torch import fit as torch_fit
from dst_jax.models.torch.layout import Layout, Leaf, from_torch, layout_of
from dst_jax.models.torch.names import is_counter, translate

__all__ = ["load", "variables"]


def variables(
    model_name: str,
    state_dict: Any,
    *,
    ignore: Sequence[str] = (),
    allow_non_finite: bool = False,
    **network: Any,
) -> dict[str, Any]:
    """The variables of a network with the weights of a PyTorch state dict.

    Every tensor must have a leaf in the network and every leaf a tensor. Only PyTorch's
    `num_batches_tracked` are left out silently: they count batches and change no
    result. The prefixes `module.` and `_orig_mod.` of `DataParallel` and
    `torch.compile` are removed if all names have them.

    Args:
      model_name: name of the network, from `models.names()`.
      state_dict: tensors of NumPy, JAX or PyTorch by name; a training script's dict
        that holds them as `state_dict`, `model_state_dict` or `model` (its other
        entries are logged and not used); or a module, whose batch normalisations' `eps`
        and `momentum` are also compared with the network's.
      ignore: regexes of names in the state dict to leave out (`re.search`), such as
        `^aux` for the auxiliary heads of GoogLeNet.
      allow_non_finite: Whether NaN and infinities are accepted.
      **network: options `num_classes` and `input_shape`, (height, width, channels), by
        default those of the network's publication (`registry.task`), and options of
        `models.create`, such as `stem` and `width`.

    Returns:
      `{"params": ..., "batch_stats": ...}` as `model.init` returns it, in float32:
      float16 and bfloat16 are exact, float64 is rounded. A network without batch
      normalisation has no `batch_stats`.

    Raises:
      TypeError: `state_dict` is none of these.
      ValueError: the tensors do not fit; one error lists all missing and unused names,
        wrong shapes with the right ones, entries that are not tensors of floats, NaN
        and infinities, and normalisations with other constants. Or a regex of `ignore`
        matches nothing, or an option is wrong.

    >>> leaves = layout_of("lenet5").leaves
    >>> theirs = {name: np.ones(leaf.torch_shape) for name, leaf in leaves.items()}
    >>> theirs["fc3.weight"].shape
    (10, 84)
    >>> variables("lenet5", theirs)["params"]["fc3"]["kernel"].shape
    (84, 10)
    """
    layout = layout_of(model_name, **network)
    return _convert(layout, state_dict, ignore, allow_non_finite)


def load(
    model_name: str,
    path: str | os.PathLike[str],
    *,
    ignore: Sequence[str] = (),
    allow_non_finite: bool = False,
    **network: Any,
) -> dict[str, Any]:
    """The variables of a network with the weights of a file.

    Args:
      model_name: name of the network, from `models.names()`.
      path: path of a `.safetensors` file, which `export.save_safetensors` may have
        compressed; or of a `.pth`, `.pt` or `.bin` file, which needs PyTorch
        (`dst_jax[torch]`).
      ignore: regexes of names in the file to leave out.
      allow_non_finite: Whether NaN and infinities are accepted.
      **network: options of the network, as in `variables`.

    Returns:
      Variables, as in `variables`.

    Raises:
      FileNotFoundError: there is no such file.
      ModuleNotFoundError: the file needs PyTorch, which is not installed.
      ValueError: the file is damaged or is not a plain file of tensors; or its tensors
        do not fit, as in `variables`. The message has the path.

    >>> load("lenet5", "nowhere.safetensors")
    Traceback (most recent call last):
    FileNotFoundError: nowhere.safetensors does not exist
    """
    layout = layout_of(model_name, **network)  # refuses a wrong option first
    found = torch_files.read(path)
    try:
        return _convert(layout, found, ignore, allow_non_finite)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def _convert(
    layout: Layout, source: Any, ignore: Sequence[str], allow_non_finite: bool
) -> dict[str, Any]:
    """The variables of the network, or one error with all faults."""
    arrays, others = torch_files.arrays_of(source)
    names = translate(_chosen(arrays, ignore), layout.model_name)
    tensors = {names[name]: arrays[name] for name in names}
    faults = [f"not tensors: {', '.join(others)}"] if others else []
    faults += torch_fit.tensor_faults(
        layout.leaves,
        tensors,
        {here: there for there, here in names.items()},
        allow_non_finite=allow_non_finite,
    )
    faults += torch_fit.class_hint(layout, tensors)
    faults += torch_fit.norm_faults(layout.norms, torch_fit.norms_of(source, names))
    if faults:
        text = "\n  ".join(faults)
        raise ValueError(f"the weights do not fit {layout.model_name}:\n  {text}")
    return _nested(layout.leaves.values(), tensors)


def _chosen(names: Iterable[str], ignore: Sequence[str]) -> list[str]:
    """The names without PyTorch's counters and without those to ignore."""
    names = list(names)
    for pattern in ignore:
        try:
            found = [name for name in names if re.search(pattern, name)]
        except re.error as error:
            raise ValueError(f"ignore: {pattern!r} is not a regex: {error}") from None
        if not found:
            raise ValueError(f"ignore: {pattern!r} matches no name in the state dict")
    return [
        name
        for name in names
        if not is_counter(name) and not any(re.search(p, name) for p in ignore)
    ]


def _nested(
    leaves: Iterable[Leaf], tensors: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for leaf in leaves:
        *branches, last = leaf.path.split("/")
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        array = torch_fit.as_float32(tensors[leaf.name])
        place[last] = jnp.asarray(from_torch(array, leaf))
    return tree
