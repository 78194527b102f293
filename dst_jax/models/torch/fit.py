"""Faults of tensors that do not fit a network, all of them in one message."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dst_jax.models.torch.layout import Layout, Leaf, Norm, layout_of

__all__ = ["as_float32", "class_hint", "norm_faults", "norms_of", "tensor_faults"]


def tensor_faults(
    leaves: Mapping[str, Leaf],
    tensors: Mapping[str, np.ndarray],
    origin: Mapping[str, str],
    *,
    allow_non_finite: bool,
) -> list[str]:
    """A line for every kind of fault; no line if the tensors fit.

    Args:
      leaves: arrays of the network, by PyTorch name.
      tensors: given tensors, by the same names.
      origin: name of each tensor in its source.
      allow_non_finite: Whether NaN and infinities are accepted.

    >>> leaves = layout_of("mlp", hidden=()).leaves
    >>> tensors = {"fc1.weight": np.ones((10, 784)), "b": np.ones(10)}
    >>> origin = {name: name for name in tensors}
    >>> tensor_faults(leaves, tensors, origin, allow_non_finite=False)
    ['missing: fc1.bias', 'unused: b']
    """
    known = sorted(leaves.keys() & tensors.keys())
    wrong = [
        f"{origin[name]} is {tensors[name].shape}, must be {leaves[name].torch_shape}"
        for name in known
        if tensors[name].shape != leaves[name].torch_shape
    ]
    not_floats = [n for n in known if not jnp.issubdtype(tensors[n].dtype, np.floating)]
    floats = [] if allow_non_finite else [n for n in known if n not in not_floats]
    not_finite = [n for n in floats if not np.isfinite(as_float32(tensors[n])).all()]
    return _lines(
        {
            "missing": sorted(leaves.keys() - tensors.keys()),
            "unused": sorted(origin[name] for name in tensors.keys() - leaves.keys()),
            "wrong shape": wrong,
            "not floats": [f"{origin[n]} ({tensors[n].dtype})" for n in not_floats],
            "not finite": [origin[name] for name in not_finite],
        }
    )


def class_hint(layout: Layout, tensors: Mapping[str, np.ndarray]) -> list[str]:
    """A line with the `num_classes` that would correct all wrong shapes, if any.

    >>> layout = layout_of("mlp", hidden=())
    >>> class_hint(layout, {"fc1.bias": np.ones(100)})
    ['num_classes=100 fits, asked was for 10 (or give new_head)']
    """
    leaves = layout.leaves
    shapes = {name: tensors[name].shape for name in leaves.keys() & tensors.keys()}
    wrong = [n for n in sorted(shapes) if shapes[n] != leaves[n].torch_shape]
    if not wrong:
        return []
    asked = layout.options["num_classes"]
    more = {**layout.options, "num_classes": asked + 1}
    wider = layout_of(layout.model_name, **more).leaves
    fitting = {_classes(shapes[name], leaves[name], wider[name]) for name in wrong}
    if len(fitting) == 1 and None not in fitting:
        fits = f"num_classes={fitting.pop()} fits, asked was for {asked}"
        return [f"{fits} (or give new_head)"]
    return []


def norms_of(module: Any, translated: Mapping[str, str]) -> dict[str, Norm]:
    """The constants of a live module's batch normalisations, by torchvision name.

    Args:
      module: module of PyTorch; any other object has none.
      translated: names in torchvision by name in the module's state dict.

    >>> norms_of({"weights": "in a plain dict"}, {})
    {}
    """
    if not hasattr(module, "named_modules"):
        return {}
    found = {}
    for path, layer in module.named_modules():
        name = translated.get(f"{path}.running_mean")
        if name is not None:
            place = name.rpartition(".")[0]
            found[place] = Norm(layer.eps, layer.momentum)
    return found


def norm_faults(expected: Mapping[str, Norm], found: Mapping[str, Norm]) -> list[str]:
    """A line for the normalisations whose constants differ; no line if they agree.

    >>> norm_faults({"bn1": Norm(1e-5, 0.1)}, {"bn1": Norm(1e-3, 0.1)})[0][-57:]
    'bn1 has eps 0.001 and momentum 0.1, must be 1e-05 and 0.1'
    """
    lines = [
        f"{name} has eps {found[name].eps} and momentum {found[name].momentum}, must be"
        f" {ours.eps:g} and {ours.momentum:g}"
        for name, ours in sorted(expected.items())
        if name in found and not _agree(ours, found[name])
    ]
    return _lines({"other constants (pass its state_dict() to overlook them)": lines})


def _agree(ours: Norm, theirs: Norm) -> bool:
    if ours.momentum is None or theirs.momentum is None:
        return ours == theirs
    same = math.isclose(ours.momentum, theirs.momentum)  # 1 - 0.9 is not quite 0.1
    return same and math.isclose(ours.eps, theirs.eps)


def as_float32(array: np.ndarray) -> np.ndarray:
    """The array in float32; values that are too large become infinite.

    >>> as_float32(np.array([1.0, 1e300])).tolist()
    [1.0, inf]
    """
    with np.errstate(over="ignore"):
        return array.astype(np.float32)


def _classes(found: tuple[int, ...], leaf: Leaf, wider: Leaf) -> int | None:
    """The number of classes that gives a tensor the shape found, or None."""
    pairs = enumerate(zip(leaf.torch_shape, wider.torch_shape, strict=True))
    axes = [i for i, (one, other) in pairs if one != other]
    if len(axes) != 1 or len(found) != len(leaf.torch_shape):
        return None
    (axis,) = axes
    fitting = (*leaf.torch_shape[:axis], found[axis], *leaf.torch_shape[axis + 1 :])
    return found[axis] if fitting == found else None


def _lines(faults: Mapping[str, Iterable[str]]) -> list[str]:
    return [f"{kind}: {', '.join(found)}" for kind, found in faults.items() if found]
