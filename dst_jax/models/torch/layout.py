"""The layout of a network in PyTorch: names of its arrays and order of their axes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from dst_jax.models.networks.unet import UpConv
from dst_jax.models.registry import create, task
from dst_jax.trees import named_leaves

__all__ = [
    "Layout",
    "Leaf",
    "Norm",
    "from_torch",
    "last_layer",
    "layout_of",
    "to_torch",
]

_NAMES = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
_LINEAR = (1, 0)  # (in, out) -> (out, in)
_CONV = (3, 2, 0, 1)  # (kh, kw, in / groups, out) -> (out, in / groups, kh, kw)
_UP_CONV = (2, 3, 0, 1)  # (kh, kw, in, out) -> (in, out, kh, kw)


@dataclass(frozen=True)
class Leaf:
    """One array of a network.

    Attributes:
      path: path here, with its collection: `params/layer1/0/conv1/kernel`.
      name: name in PyTorch: `layer1.0.conv1.weight`.
      shape: shape here.
      axes: axes here in PyTorch's order: axis i in PyTorch is axis `axes[i]` here.
    """

    path: str
    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """The shape in PyTorch.

        >>> Leaf("params/fc/kernel", "fc.weight", (3, 2), (1, 0)).torch_shape
        (2, 3)
        """
        return tuple(self.shape[i] for i in self.axes)


@dataclass(frozen=True)
class Norm:
    """The constants of a batch normalisation, as PyTorch defines them.

    `momentum` is the weight of the new batch; None is a plain average over all batches.
    """

    eps: float
    momentum: float | None


class Layout(NamedTuple):
    """The arrays and normalisations of a network by their names in PyTorch.

    Attributes:
      model_name: name of the network.
      options: options of the network, with `num_classes` and `input_shape`.
      leaves: arrays by PyTorch name, in path order.
      norms: batch normalisations by PyTorch name.
    """

    model_name: str
    options: dict[str, Any]
    leaves: dict[str, Leaf]
    norms: dict[str, Norm]


def layout_of(
    model_name: str,
    *,
    num_classes: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    **model_options: Any,
) -> Layout:
    """The layout of a network in PyTorch, from shapes alone.

    Args:
      model_name: name of the network, from `models.names()`.
      num_classes: number of outputs; by default that of `registry.task`.
      input_shape: shape (height, width, channels) of an image, on which the shapes of
        some networks depend; by default that of `registry.task`.
      **model_options: options of `models.create`.

    Raises:
      ValueError: an unknown name or option, or two arrays with one name in PyTorch.

    >>> leaf = layout_of("lenet5").leaves["conv1.weight"]
    >>> leaf.path, leaf.shape, leaf.torch_shape
    ('params/conv1/kernel', (5, 5, 1, 6), (6, 1, 5, 5))
    """
    usual = task(model_name, stem=model_options.get("stem"))
    sizes = {
        "num_classes": usual.num_classes if num_classes is None else num_classes,
        "input_shape": usual.image if input_shape is None else input_shape,
    }
    model = create(model_name, num_classes=sizes["num_classes"], **model_options)
    variables, layers = _trace(model, sizes["input_shape"])
    leaves: dict[str, Leaf] = {}
    for path, array in named_leaves(variables).items():
        leaf = _leaf(path, array.shape, layers)
        if leaf.name in leaves:
            both = f"{leaves[leaf.name].path} and {path}"
            raise ValueError(f"{both} are both {leaf.name} in PyTorch")
        leaves[leaf.name] = leaf
    norms = {
        path.replace("/", "."): Norm(layer.epsilon, 1 - layer.momentum)
        for path, layer in layers.items()
        if isinstance(layer, nn.BatchNorm)
    }
    return Layout(model_name, {**sizes, **model_options}, leaves, norms)


def last_layer(layout: Layout) -> frozenset[str]:
    """The PyTorch names of the arrays whose shapes depend on the number of classes.

    >>> sorted(last_layer(layout_of("lenet5")))
    ['fc3.bias', 'fc3.weight']
    """
    more = {**layout.options, "num_classes": layout.options["num_classes"] + 1}
    wider = layout_of(layout.model_name, **more).leaves
    pairs = layout.leaves.items()
    return frozenset(name for name, leaf in pairs if leaf.shape != wider[name].shape)


def to_torch(array: ArrayLike, leaf: Leaf) -> np.ndarray:
    """An array of a network as PyTorch holds it, contiguous.

    >>> leaf = Leaf("params/fc/kernel", "fc.weight", (3, 2), (1, 0))
    >>> to_torch(np.ones((3, 2)), leaf).shape
    (2, 3)
    """
    moved = np.asarray(array).transpose(leaf.axes)
    return np.ascontiguousarray(moved).reshape(moved.shape)  # 0 axes became 1


def from_torch(array: ArrayLike, leaf: Leaf) -> np.ndarray:
    """The inverse of `to_torch`.

    >>> leaf = Leaf("params/fc/kernel", "fc.weight", (3, 2), (1, 0))
    >>> from_torch(np.ones((2, 3)), leaf).shape
    (3, 2)
    """
    moved = np.asarray(array).transpose(np.argsort(leaf.axes))
    return np.ascontiguousarray(moved).reshape(moved.shape)


def _trace(
    model: nn.Module, input_shape: tuple[int, ...]
) -> tuple[Any, dict[str, nn.Module]]:
    """The shapes of a network's variables, and its layers by path."""
    layers: dict[str, nn.Module] = {}

    def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layers["/".join(context.module.path)] = context.module
        return call(*args, **kwargs)

    image = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
    with nn.intercept_methods(note):
        variables = jax.eval_shape(model.init, jax.random.key(0), image)
    return variables, layers


def _leaf(path: str, shape: tuple[int, ...], layers: Mapping[str, nn.Module]) -> Leaf:
    _, _, inside = path.partition("/")
    *layer, own = inside.split("/")
    name = ".".join([*layer, _NAMES.get(own, own)])
    axes = tuple(range(len(shape)))
    if own == "kernel":
        axes = _kernel_axes(inside, len(shape), layers["/".join(layer)])
    return Leaf(path, name, shape, axes)


def _kernel_axes(path: str, rank: int, layer: nn.Module) -> tuple[int, ...]:
    """The order of the axes, by their number, also for grouped convolutions."""
    if isinstance(layer, UpConv):
        return _UP_CONV
    if rank not in (2, 4):
        raise ValueError(f"{path} must have 2 or 4 axes, got {rank}")
    return _LINEAR if rank == 2 else _CONV
