"""Trees of arrays with units removed, or set to 0."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from dst_jax import trees
from dst_jax.channels.axis_units import Bools
from dst_jax.channels.groups import Groups
from dst_jax.channels.kept_positions import Keep, kept_positions
from dst_jax.kernels import Kernels

__all__ = ["mask", "remove"]

AnyArray = Array | np.ndarray


def remove(tree: Any, groups: Groups, keep: Keep) -> Any:
    """A tree without the units that are not kept.

    Parameters, statistics, masks, gradients and optimizer states shrink alike. A leaf
    belongs to the longest path of the traced argument that its own path ends in, as in
    `kernels.Kernels.find`; leaves that match nothing stay as they are.

    Args:
      tree: any pytree of arrays.
      groups: from `channels.groups`.
      keep: `{group: bool[size]}`; a group that it lacks stays whole. Nothing of a group
        has to be kept if a branch consists of it alone, see `Group.needed`.

    Raises:
      ValueError: a group is unknown; `keep` has another length than the group, or keeps
        nothing of one that is `needed`; no leaf of a group is in the tree; or a leaf
        has another shape.

    >>> from dst_jax import channels
    >>> w = {"fc1": jnp.ones((4, 3)), "fc2": jnp.ones((3, 2))}
    >>> net = lambda w, x: x @ w["fc1"] @ w["fc2"]
    >>> groups = channels.groups(net)(w, jnp.ones((1, 4)))
    >>> small = remove(w, groups, {"fc1": [True, False, True]})
    >>> small["fc1"].shape, small["fc2"].shape
    ((4, 2), (2, 2))
    """

    def taken(leaf: AnyArray, axis: int, kept: Bools) -> AnyArray:
        return leaf.take(np.flatnonzero(kept), axis)

    return _mapped(tree, groups, keep, taken)


def mask(tree: Any, groups: Groups, keep: Keep) -> Any:
    """A tree with 0 in place of the units that are not kept; see `remove`.

    >>> from dst_jax import channels
    >>> w = {"fc1": jnp.ones((1, 3)), "fc2": jnp.ones((3, 1))}
    >>> net = lambda w, x: x @ w["fc1"] @ w["fc2"]
    >>> groups = channels.groups(net)(w, jnp.ones((1, 1)))
    >>> mask(w, groups, {"fc1": [True, False, True]})["fc1"].tolist()
    [[1.0, 0.0, 1.0]]
    """

    def zeroed(leaf: AnyArray, axis: int, kept: Bools) -> AnyArray:
        shape = [1] * leaf.ndim
        shape[axis] = kept.size
        where = np.where if isinstance(leaf, np.ndarray) else jnp.where
        return where(kept.reshape(shape), leaf, np.zeros((), leaf.dtype))

    return _mapped(tree, groups, keep, zeroed)


def _mapped(
    tree: Any,
    groups: Groups,
    keep: Keep,
    change: Callable[[AnyArray, int, Bools], AnyArray],
) -> Any:
    positions = kept_positions(groups, keep)
    paths = Kernels(leaves=tuple(groups.shapes))
    seen: set[str] = set()

    def changed(path: str, leaf: Any) -> Any:
        owner = paths.owner(path)
        if owner not in positions:
            return leaf
        if leaf.shape != groups.shapes[owner]:
            raise ValueError(
                f"{path} must have the shape of {owner}, {groups.shapes[owner]}, got"
                f" {leaf.shape}"
            )
        seen.add(owner)
        for axis, kept in positions[owner].items():
            leaf = change(leaf, axis, kept)
        return leaf

    result = trees.map_named(changed, tree)
    for name in keep:
        if not any(path in seen for path, _, _ in groups[name].members):
            raise ValueError(
                f"the tree must hold a leaf of group {name!r}, one of"
                f" {tuple(path for path, _, _ in groups[name].members)}, got"
                f" {tuple(trees.named_leaves(tree))}"
            )
    return result
