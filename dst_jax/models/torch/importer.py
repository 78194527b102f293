"""Imports weights of PyTorch: torchvision's, timm's, Hugging Face's, or your own.

    load("resnet18", "resnet18.safetensors")              # needs no PyTorch
    load("resnet18", "cifar.pth", num_classes=10, stem="cifar")
    variables("resnet50", torchvision.models.resnet50(weights="DEFAULT"))
    load("resnet18", "resnet18.safetensors", num_classes=10, new_head=fresh)
    masks("resnet18", "pruned.pth", num_classes=10)       # of torch.nn.utils.prune

Networks and layers are the same on both sides: padding, epsilon, momentum, the order in
which maps are flattened. Only names and axes have to be converted.
`dst_jax.models.torch.names` lists the known names, `dst_jax.models.torch.layout` says
how axes change.
"""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dst_jax.models.torch import files as torch_files
from dst_jax.models.torch import fit as torch_fit
from dst_jax.models.torch.layout import (
    Layout,
    Leaf,
    from_torch,
    last_layer,
    layout_of,
    to_torch,
)
from dst_jax.models.torch.names import is_counter, translate
from dst_jax.models.torch.pruned import merged
from dst_jax.trees import named_leaves
from dst_jax.typing import Mask, Variables

__all__ = ["load", "masks", "variables"]


def variables(
    model_name: str,
    state_dict: Any,
    *,
    ignore: Sequence[str] = (),
    allow_non_finite: bool = False,
    new_head: Variables | None = None,
    **network: Any,
) -> dict[str, Any]:
    """The variables of a network with the weights of a PyTorch state dict.

    Every tensor must have a leaf in the network and every leaf a tensor. Only PyTorch's
    `num_batches_tracked` are left out silently: they count batches and change no
    result. The prefixes `module.`, `_orig_mod.`, `model.` and `net.` of `DataParallel`,
    `torch.compile` and Lightning are removed if all names have them. What
    `torch.nn.utils.prune` has pruned is 0 where its mask is; `masks` returns the masks.

    Args:
      model_name: name of the network, from `models.names()`.
      state_dict: tensors of NumPy, JAX or PyTorch by name; a training script's dict
        that holds them as `state_dict`, `model_state_dict` or `model` (its other
        entries are logged and not used); or a module, whose batch normalisations' `eps`
        and `momentum` are also compared with the network's.
      ignore: regexes of names in the state dict to leave out (`re.search`), such as
        `^aux` for the auxiliary heads of GoogLeNet.
      allow_non_finite: Whether NaN and infinities are accepted.
      new_head: variables of the network, such as `model.init` returns, for another
        number of classes: the arrays whose shapes depend on it are taken from here, and
        those of the state dict are left out. No others need be there.
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

    >>> import numpy as np
    >>> leaves = layout_of("lenet5").leaves
    >>> theirs = {name: np.ones(leaf.torch_shape) for name, leaf in leaves.items()}
    >>> theirs["fc3.weight"].shape
    (10, 84)
    >>> variables("lenet5", theirs)["params"]["fc3"]["kernel"].shape
    (84, 10)
    """
    layout = layout_of(model_name, **network)
    return _convert(layout, state_dict, ignore, allow_non_finite, new_head)


def load(
    model_name: str,
    path: str | os.PathLike[str],
    *,
    ignore: Sequence[str] = (),
    allow_non_finite: bool = False,
    new_head: Variables | None = None,
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
      new_head: variables for another number of classes, as in `variables`.
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
        return _convert(layout, found, ignore, allow_non_finite, new_head)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def masks(
    model_name: str,
    source: Any,
    *,
    ignore: Sequence[str] = (),
    new_head: bool = False,
    **network: Any,
) -> Mask:
    """The masks of `torch.nn.utils.prune` in a state dict, for `pruning.apply_mask`.

    Args:
      model_name: name of the network, from `models.names()`.
      source: path of a file, as in `load`; or a state dict or module, as in
        `variables`.
      ignore: regexes of names in the state dict to leave out.
      new_head: Whether masks of the arrays whose shapes depend on the number of classes
        are left out.
      **network: options of the network, as in `variables`.

    Returns:
      A tree like the network's parameters: bool arrays, None where a parameter has no
      mask; None alone if nothing is pruned.

    Raises:
      FileNotFoundError, ModuleNotFoundError: as in `load`.
      ValueError: as in `load`; or a mask is of no parameter of the network.

    >>> import numpy as np
    >>> theirs = {"fc3.weight_orig": np.ones((10, 84)), "fc3.bias": np.ones(10)}
    >>> theirs["fc3.weight_mask"] = np.eye(10, 84)
    >>> int(masks("lenet5", theirs)["fc3"]["kernel"].sum())
    10
    """
    layout = layout_of(model_name, **network)
    if isinstance(source, str | os.PathLike):
        source = torch_files.read(source)
    found = merged(torch_files.arrays_of(source)[0])
    names = translate(_chosen(found.tensors, ignore), layout.model_name)
    pruned = {names[name]: mask for name, mask in found.masks.items() if name in names}
    for name in last_layer(layout) if new_head else ():
        pruned.pop(name, None)
    faults = found.faults + [
        f"{name}_mask is {mask.shape}, which is no parameter of the network"
        for name, mask in pruned.items()
        if name not in layout.leaves or mask.shape != layout.leaves[name].torch_shape
    ]
    if faults:
        text = "\n  ".join(faults)
        raise ValueError(f"the masks do not fit {layout.model_name}:\n  {text}")
    if not pruned:
        return None
    leaves = [x for x in layout.leaves.values() if x.path.startswith("params/")]
    return _tree(
        (leaf, jnp.asarray(from_torch(pruned[leaf.name], leaf)))
        if leaf.name in pruned
        else (leaf, None)
        for leaf in leaves
    )["params"]


def _convert(
    layout: Layout,
    source: Any,
    ignore: Sequence[str],
    allow_non_finite: bool,
    new_head: Variables | None,
) -> dict[str, Any]:
    """The variables of the network, or one error with all faults."""
    arrays, others = torch_files.arrays_of(source)
    found = merged(arrays)
    names = translate(_chosen(found.tensors, ignore), layout.model_name)
    tensors = {names[name]: found.tensors[name] for name in names}
    origin = {here: there for there, here in names.items()}
    if new_head is not None:
        head = _head(layout, new_head)
        tensors, origin = tensors | head, origin | {name: name for name in head}
    faults = [f"not tensors: {', '.join(others)}"] if others else []
    faults += found.faults
    faults += torch_fit.tensor_faults(
        layout.leaves,
        tensors,
        origin,
        allow_non_finite=allow_non_finite,
    )
    faults += torch_fit.class_hint(layout, tensors)
    faults += torch_fit.norm_faults(layout.norms, torch_fit.norms_of(source, names))
    if faults:
        text = "\n  ".join(faults)
        raise ValueError(f"the weights do not fit {layout.model_name}:\n  {text}")
    return _tree(
        (leaf, jnp.asarray(from_torch(torch_fit.as_float32(tensors[leaf.name]), leaf)))
        for leaf in layout.leaves.values()
    )


def _head(layout: Layout, variables: Variables) -> dict[str, np.ndarray]:
    """The arrays of the last layer in these variables, as PyTorch holds them."""
    given, head = named_leaves(variables), {}
    for name in sorted(last_layer(layout)):
        leaf = layout.leaves[name]
        array = given.get(leaf.path)
        if array is None or array.shape != leaf.shape:
            found = "nothing" if array is None else f"an array of shape {array.shape}"
            raise ValueError(
                f"new_head must hold {leaf.path} of shape {leaf.shape}, got {found}"
            )
        head[name] = to_torch(array, leaf)
    return head


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


def _tree(arrays: Iterable[tuple[Leaf, Any]]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for leaf, array in arrays:
        *branches, last = leaf.path.split("/")
        place = tree
        for branch in branches:
            place = place.setdefault(branch, {})
        place[last] = array
    return tree
