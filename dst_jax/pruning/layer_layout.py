"""Prunable leaves as single layers, (*window, inputs, outputs), and back.

Whatever chooses weights works on layers: a stack is its layers apart, and inputs are
the contracted axes. A leaf that is such a layer already passes through untouched.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from dst_jax import trees
from dst_jax.kernels import Kernel, apart, of, together
from dst_jax.typing import Params

__all__ = ["LayerLayout", "layout_of"]


@jax.tree_util.register_static
@dataclass(frozen=True)
class LayerLayout:
    """The kernels of a tree that are stacks of layers, or have other axes than a layer.

    Optimizer states carry it, so that a state can be read without the kernels.

    Attributes:
      kernels: kernels by path. Those that are a layer as they are need no entry.
    """

    kernels: tuple[tuple[str, Kernel], ...] = ()

    def apart(self, tree: Any) -> Any:
        """`tree` with layers in place of kernels, a tuple of them for a stack.

        >>> import jax.numpy as jnp
        >>> stack = Kernel(stack=(0,), inputs=(1,), outputs=(2,))
        >>> layout = LayerLayout((("w", stack),))
        >>> layers = layout.apart({"w": jnp.ones((2, 3, 4)), "b": jnp.ones(4)})
        >>> [layer.shape for layer in layers["w"]], layers["b"].shape
        ([(3, 4), (3, 4)], (4,))
        """
        if not self.kernels:
            return tree
        parts = apart(tree, dict(self.kernels))
        return jax.tree.map(
            lambda leaf, part: leaf if part is None else part,
            tree,
            parts,
            is_leaf=trees.is_none,
        )

    def together(self, layers: Any, like: Any) -> Any:
        """The tree whose layers `apart` returns, with the structure of `like`.

        >>> import jax.numpy as jnp
        >>> stack = Kernel(stack=(0,), inputs=(1,), outputs=(2,))
        >>> layout = LayerLayout((("w", stack),))
        >>> tree = {"w": jnp.ones((2, 3, 4)), "b": None}
        >>> layout.together(layout.apart(tree), tree)["w"].shape
        (2, 3, 4)
        """
        if not self.kernels:
            return layers
        whole = together(layers, like, dict(self.kernels))
        return jax.tree.map(
            lambda _, leaf, part: part if leaf is None else leaf,
            like,
            whole,
            layers,
            is_leaf=trees.is_none,
        )


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
