"""Pytrees by path name: first-match rules, counts and exact global top-k."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from dst_jax.typing import Mask, Rules

__all__ = [
    "count",
    "is_none",
    "map_named",
    "merge",
    "named_leaves",
    "only",
    "path_name",
    "select",
    "top_k",
]


def is_none(x: Any) -> bool:
    """For `is_leaf`: keeps `None` leaves, which JAX would drop."""
    return x is None


def named_leaves(tree: Any) -> dict[str, Any]:
    """Leaves by path name, `None` leaves left out.

    >>> named_leaves({"conv1": {"kernel": 1, "bias": None}})
    {'conv1/kernel': 1}
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_name(path): leaf for path, leaf in leaves}


def map_named(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`fn(name, leaf, *leaves)` over a tree; `None` leaves of `tree` stay `None`.

    >>> map_named(lambda name, x: f"{name}={x}", {"a": {"b": 1}, "c": None})
    {'a': {'b': 'a/b=1'}, 'c': None}
    """

    def call(path: Any, leaf: Any, *leaves: Any) -> Any:
        return None if leaf is None else fn(path_name(path), leaf, *leaves)

    return jax.tree_util.tree_map_with_path(call, tree, *rest, is_leaf=is_none)


def select(tree: Any, rules: Rules, *, default: Any) -> Any:
    """The value of the first rule whose regex is found in each leaf's path name.

    Args:
      tree: any pytree; `None` leaves stay `None`.
      rules: `[(regex, value), ...]`, matched with `re.search` on names such as
        `layer1/0/conv1/kernel`; the first match wins.
      default: the value of a leaf that no rule matches; a callable is called
        with `(name, leaf)`.

    Returns:
      A tree shaped like `tree`.

    Raises:
      ValueError: a regex matches no name of the tree, or is not a regex.

    >>> select({"conv1": 0, "fc": 0}, [("conv", 1.0)], default=0.5)
    {'conv1': 1.0, 'fc': 0.5}
    """
    names = list(named_leaves(tree))
    for pattern, _ in rules:
        try:
            found = any(re.search(pattern, name) for name in names)
        except re.error as error:
            raise ValueError(f"rule {pattern!r} is not a regex: {error}") from None
        if not found:
            raise ValueError(f"rule {pattern!r} matches none of: {', '.join(names)}")

    def value(name: str, leaf: Any) -> Any:
        for pattern, chosen in rules:
            if re.search(pattern, name):
                return chosen
        return default(name, leaf) if callable(default) else default

    return map_named(value, tree)


def count(tree: Any) -> int:
    """The number of elements in all leaves.

    >>> count({"a": jnp.ones((2, 3)), "b": None})
    6
    """
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def only(mask: Mask, tree: Any) -> Any:
    """The leaves of `tree` that are prunable; `None` for the others."""
    return jax.tree.map(
        lambda m, x: None if m is None else x, mask, tree, is_leaf=is_none
    )


def merge(part: Any, whole: Any) -> Any:
    """`whole` with the leaves of `part` that are not None; None in `whole` stays."""

    def choose(new: Any, old: Any) -> Any:
        return old if new is None or old is None else new

    return jax.tree.map(choose, part, whole, is_leaf=is_none)


def top_k(scores: Any, k: Int[Array, ""] | int) -> Any:
    """A bool tree that is true on exactly `k` elements: the largest of all leaves.

    Ties go to the element that comes first in path order, so the result does not
    depend on the device. `k` may be traced. NaN scores rank lowest.

    Args:
      scores: pytree of real arrays; `None` leaves stay `None`.
      k: how many elements to keep, clipped to `[0, count(scores)]`.

    >>> top_k({"a": jnp.array([3.0, 1.0]), "b": jnp.array([2.0])}, 2)["a"].tolist()
    [True, False]
    """
    leaves, treedef = jax.tree.flatten(scores)
    if not leaves:
        return scores
    flat = jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
    parts = jnp.split(_top_k_flat(flat, k), _offsets(leaves))
    shaped = [p.reshape(leaf.shape) for p, leaf in zip(parts, leaves, strict=True)]
    return jax.tree.unflatten(treedef, shaped)


def _top_k_flat(
    flat: Int[Array, " n"] | Array, k: Int[Array, ""] | int
) -> Bool[Array, " n"]:
    lowest = -jnp.inf if jnp.issubdtype(flat.dtype, jnp.inexact) else None
    if lowest is not None:
        flat = jnp.where(jnp.isnan(flat), lowest, flat)
    n = flat.size
    k = jnp.clip(k, 0, n)
    threshold = jnp.sort(flat)[jnp.clip(n - k, 0, n - 1)]
    above = flat > threshold
    tied = flat == threshold
    room = k - above.sum(dtype=jnp.int32)
    return above | (tied & (jnp.cumsum(tied, dtype=jnp.int32) <= room))


def _offsets(leaves: list[Any]) -> list[int]:
    ends, total = [], 0
    for leaf in leaves[:-1]:
        total += leaf.size
        ends.append(total)
    return ends


def path_name(path: Any) -> str:
    """A key path as a name: `layer1/0/conv1/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
