"""Kernels taken apart into layers of one layout, and put together again."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax import trees
from dst_jax.kernels.kernel import Kernel, Kernels
from dst_jax.kernels.kernel_names import by_name
from dst_jax.typing import Params

__all__ = ["apart", "of", "together"]


def of(tree: Params, kernels: Mapping[str, Kernel] | None = None) -> dict[str, Kernel]:
    """The kernels of a tree by its own paths.

    Args:
      tree: pytree of arrays.
      kernels: kernels of another tree with the same leaves, which are found as
        `Kernels.find` does; by default those of `by_name(tree)`.

    Raises:
      TypeError: `kernels` is no mapping, such as what `by_use` returns before it is
        called with the arguments.
      ValueError: no leaf of the tree is one of `kernels.leaves`, or a leaf has another
        number of axes than its kernel.

    >>> kernels = Kernels({"params/fc/kernel": Kernel(inputs=(0, 1), outputs=(2,))})
    >>> of({"fc": {"kernel": jnp.ones((2, 3, 4))}}, kernels)["fc/kernel"].inputs
    (0, 1)
    """
    if kernels is None:
        return dict(by_name(tree))
    if not isinstance(kernels, Mapping):
        raise TypeError(
            "kernels must be a mapping of paths, as by_use(fn)(weights, x) returns it, "
            f"got {kernels!r}"
        )
    known = kernels if isinstance(kernels, Kernels) else Kernels(kernels)
    leaves = trees.named_leaves(tree)
    if leaves and all(known.owner(path) is None for path in leaves):
        raise ValueError(
            f"kernels must be those of this tree: none of {', '.join(leaves)} is one "
            f"of {', '.join(known.leaves) or 'no leaves'}"
        )
    found = {}
    for path, leaf in leaves.items():
        kernel = known.find(path)
        if kernel is None:
            continue
        if len(kernel.axes) != leaf.ndim:
            raise ValueError(
                f"kernels must be those of this tree: {path} has the shape "
                f"{leaf.shape}, but {kernel} has {len(kernel.axes)} axes"
            )
        found[path] = kernel
    return found


def apart(tree: Params, kernels: Mapping[str, Kernel]) -> Any:
    """The layers of every kernel in the layout (*window, inputs, outputs).

    Several input axes are merged into one, and so are several output axes. A kernel
    that has this layout is returned as it is.

    Args:
      tree: pytree of arrays or `jax.ShapeDtypeStruct`s: weights, a mask, scores.
      kernels: kernels by path in this tree, see `of`.

    Returns:
      A tree with one array for every kernel; a tuple of arrays for a kernel with a
      stack, in row-major order over its axes; None for all other leaves.

    >>> tree = {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones((2, 4))}
    >>> layers = apart(tree, {"kernel": Kernel(stack=(0,), inputs=(1,), outputs=(2,))})
    >>> [layer.shape for layer in layers["kernel"]], layers["bias"]
    ([(3, 4), (3, 4)], None)
    """

    def layers(path: str, leaf: Any) -> Any:
        kernel = kernels.get(path)
        if kernel is None or kernel.canonical:
            return None if kernel is None else leaf
        return _shaped(functools.partial(_layers, kernel), leaf)

    return trees.map_named(layers, tree)


def together(layers: Any, like: Params, kernels: Mapping[str, Kernel]) -> Any:
    """The tree whose layers `apart` returns.

    Args:
      layers: tree of the structure that `apart` returns. A kernel whose layers are
        None stays None.
      like: pytree of arrays whose structure and shapes the result gets.
      kernels: kernels by path in `like`.

    Returns:
      A tree shaped like `like`, with None for every leaf that is no kernel.

    >>> kernels = {"kernel": Kernel(inputs=(0,), outputs=(1, 2))}
    >>> tree = {"kernel": jnp.ones((2, 3, 4)), "bias": jnp.ones((3, 4))}
    >>> jax.tree.map(jnp.shape, together(apart(tree, kernels), tree, kernels))
    {'bias': None, 'kernel': (2, 3, 4)}
    """

    def whole(path: str, leaf: Any, parts: Any) -> Any:
        kernel = kernels.get(path)
        if kernel is None or parts is None or kernel.canonical:
            return None if kernel is None else parts
        if kernel.stack and not parts:
            return leaf  # no layers, so the leaf is empty
        return _shaped(functools.partial(_whole, kernel, jnp.shape(leaf)), parts)

    return trees.map_named(whole, like, layers)


def _shaped(fn: Any, parts: Any) -> Any:
    """`fn(parts)`, abstractly if the parts are shapes."""
    abstract = isinstance(jax.tree.leaves(parts)[0], jax.ShapeDtypeStruct)
    return jax.eval_shape(fn, parts) if abstract else fn(parts)


def _layers(kernel: Kernel, leaf: Any) -> Any:
    stack, inputs, outputs = (
        math.prod(leaf.shape[axis] for axis in axes)
        for axes in (kernel.stack, kernel.inputs, kernel.outputs)
    )
    layer = (*(leaf.shape[axis] for axis in kernel.window), inputs, outputs)
    ordered = leaf.transpose(kernel.axes)
    if not kernel.stack:
        return ordered.reshape(layer)
    split = ordered.reshape(stack, *layer)
    return tuple(split[i] for i in range(stack))


def _whole(kernel: Kernel, shape: tuple[int, ...], parts: Any) -> Any:
    ordered = jnp.stack(parts) if kernel.stack else parts
    ordered = ordered.reshape([shape[axis] for axis in kernel.axes])
    return ordered.transpose([kernel.axes.index(axis) for axis in range(len(shape))])
