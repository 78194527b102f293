"""Prunable leaves as single layers, (*window, inputs, outputs), and back.

What chooses weights works on layers: a stack is its layers apart, and inputs are
the contracted axes. A leaf that is such a layer already passes through untouched.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from dst_jax import trees
from dst_jax.kernels import Kernel, apart, of, together
from dst_jax.typing import Params

__all__ = ["LayerLayout", "layout_of"]


@dataclass(frozen=True)
class LayerLayout:
    """The kernels of a tree that are stacks of layers, or have other axes than a layer.

    Optimizer states carry it as static data, so that a state can be read without the
    kernels.

    Attributes:
      kernels: kernels by path. Those that are a layer as they are need no entry.
    """

    kernels: tuple[tuple[str, Kernel], ...] = ()

    def apart(self, tree: Any) -> Any:
        """The layers of `tree` by name, or `tree` itself if there is nothing to change.

        Args:
          tree: pytree with the paths of the kernels: parameters, a mask, gradients.

        >>> import jax.numpy as jnp
        >>> stack = Kernel(stack=(0,), inputs=(1,), outputs=(2,))
        >>> tree = {"w": jnp.ones((2, 3, 4)), "b": None}
        >>> layers = LayerLayout((("w", stack),)).apart(tree)
        >>> [(name, layer.shape) for name, layer in layers.items() if layer is not None]
        [('w/0', (3, 4)), ('w/1', (3, 4))]
        """
        if not self.kernels:
            return tree
        leaves = trees.named_leaves(tree, none=True)
        parts = apart(leaves, dict(self.kernels))
        layers: dict[str, Any] = {}
        for name, leaf in leaves.items():
            part = parts[name]
            if isinstance(part, tuple):
                layers |= {f"{name}/{i}": layer for i, layer in enumerate(part)}
            else:
                layers[name] = leaf if part is None else part
        # In the order of the leaves, by which ties are broken and numbers drawn.
        return OrderedDict(layers)

    def together(self, layers: Any, like: Any) -> Any:
        """The tree whose layers `apart` returns: its inverse.

        Args:
          layers: tree of layers as `apart` returns it.
          like: pytree of arrays with the structure and shapes of the result.

        >>> import jax.numpy as jnp
        >>> stack = Kernel(stack=(0,), inputs=(1,), outputs=(2,))
        >>> tree, layout = {"w": jnp.ones((2, 3, 4))}, LayerLayout((("w", stack),))
        >>> layout.together(layout.apart(tree), tree)["w"].shape
        (2, 3, 4)
        """
        if not self.kernels:
            return layers
        kernels, leaves = dict(self.kernels), trees.named_leaves(like, none=True)
        parts = {name: layers.get(name) for name in leaves}
        for name, kernel in kernels.items():
            if kernel.stack and leaves.get(name) is not None:
                number = math.prod(leaves[name].shape[axis] for axis in kernel.stack)
                parts[name] = tuple(layers[f"{name}/{i}"] for i in range(number))
        whole = together(parts, leaves, kernels)
        found = [parts[k] if whole[k] is None else whole[k] for k in leaves]
        return jax.tree.structure(like, is_leaf=trees.is_none).unflatten(found)


def layout_of(
    params: Params, prunable: Any, kernels: Mapping[str, Kernel] | None
) -> LayerLayout:
    """The layout of the leaves that are pruned.

    Args:
      params: pytree of arrays.
      prunable: tree shaped like `params`, with `None` where a leaf is never pruned.
      kernels: kernels of `params` or of a tree with the same leaves; None = by name.

    >>> import jax.numpy as jnp
    >>> weight = {"weight": jnp.ones((3, 2))}  # outputs first
    >>> [name for name, _ in layout_of(weight, weight, None).kernels]
    ['weight']
    """
    pruned = trees.named_leaves(prunable)
    found = of(trees.only(prunable, params), kernels) if pruned else {}
    return LayerLayout(tuple((k, found[k]) for k in found if not found[k].canonical))
