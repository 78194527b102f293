"""Leaves of pytrees by path name: first-match rules, splitting, merging, counts."""

import numbers
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax

from dst_jax.typing import Mask, Rules

__all__ = [
    "check_arrays",
    "count",
    "instances",
    "is_none",
    "like",
    "map_named",
    "merge",
    "named_leaves",
    "only",
    "path_name",
    "select",
]


def is_none(x: Any) -> bool:
    """Whether a leaf is `None`: as `is_leaf`, keeps what JAX would drop.

    >>> jax.tree.leaves({"a": None, "b": 1}, is_leaf=is_none)
    [None, 1]
    """
    return x is None


def named_leaves(tree: Any, *, none: bool = False) -> dict[str, Any]:
    """Leaves by path name.

    Args:
      tree: any pytree.
      none: whether `None` leaves are kept.

    Raises:
      ValueError: two leaves have the same path name.

    >>> named_leaves({"conv1": {"kernel": 1, "bias": None}})
    {'conv1/kernel': 1}
    """
    is_leaf = is_none if none else None
    leaves = jax.tree_util.tree_leaves_with_path(tree, is_leaf=is_leaf)
    named = {path_name(path): leaf for path, leaf in leaves}
    if len(named) < len(leaves):
        counts = Counter(path_name(path) for path, _ in leaves)
        several = sorted(name for name, n in counts.items() if n > 1)
        raise ValueError(
            f"leaves must have different path names, got several leaves at {several}: "
            "rename a key that holds a slash"
        )
    return named


def check_arrays(argument: str, tree: Any) -> None:
    """Refuses a tree with leaves that are neither arrays nor numbers.

    Equinox keeps functions and strings among the leaves of a module.

    Args:
      argument: what the tree is called in the message.
      tree: any pytree.

    Raises:
      TypeError: a leaf is something else.

    >>> check_arrays("params", {"fc": {"activation": abs}})
    Traceback (most recent call last):
    TypeError: params must hold arrays alone, got <built-in ...> at fc/activation: ...
    """
    for name, leaf in named_leaves(tree).items():
        if not hasattr(leaf, "dtype") and not isinstance(leaf, numbers.Number):
            raise TypeError(
                f"{argument} must hold arrays alone, got {leaf!r} at {name}: give the"
                " arrays, as equinox.filter(model, equinox.is_inexact_array)"
            )


def map_named(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`fn(name, leaf, *leaves)` over a tree; `None` leaves of `tree` stay `None`.

    Args:
      fn: function of a path name and leaves.
      tree: any pytree.
      *rest: further pytrees that have the structure of `tree` above its leaves.

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

    Args:
      tree: pytree of arrays.

    >>> import jax.numpy as jnp
    >>> count({"a": jnp.ones((2, 3)), "b": None})
    6
    """
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def only(mask: Mask, tree: Any) -> Any:
    """The leaves of `tree` where `mask` has one; `None` for the others.

    Args:
      mask: pytree, `None` for leaves that are left out.
      tree: pytree of the same structure.

    >>> only({"a": True, "b": None}, {"a": 1, "b": 2})
    {'a': 1, 'b': None}
    """
    return jax.tree.map(
        lambda m, x: None if m is None else x, mask, tree, is_leaf=is_none
    )


def merge(part: Any, whole: Any) -> Any:
    """`whole` with the leaves of `part` that are not None; None in `whole` stays.

    Args:
      part, whole: pytrees of the same structure.

    >>> merge({"a": 1, "b": None}, {"a": 2, "b": 3})
    {'a': 1, 'b': 3}
    """

    def choose(new: Any, old: Any) -> Any:
        return old if new is None or old is None else new

    return jax.tree.map(choose, part, whole, is_leaf=is_none)


def like(tree: Any, other: Any, *, names: tuple[str, str] = ("tree", "other")) -> Any:
    """`tree` in the containers of `other`, leaf by leaf as the path names say.

    A mask in plain dicts fits parameters in a `FrozenDict`, and a list fits a tuple.

    Args:
      tree: any pytree; `None` is a leaf, or stands for a whole subtree of `None`.
      other: pytree with leaves of the same path names; `None` is a leaf.
      names: what the two are called in a message.

    Raises:
      ValueError: the path names of the leaves differ.

    >>> like([1, (2, None), None], (0, [0, 0], {"a": 0}))
    (1, [2, None], {'a': None})
    """
    wanted = jax.tree.structure(other, is_leaf=is_none)
    if jax.tree.structure(tree, is_leaf=is_none) == wanted:
        return tree
    leaves, paths = named_leaves(tree, none=True), named_leaves(other, none=True)
    owners = {name: _owner(name, leaves) for name in paths}
    missing = [name for name, owner in owners.items() if owner is None]
    missing += [name for name in leaves if name not in owners.values()]
    if missing:
        raise ValueError(f"{names[0]} is not shaped like {names[1]}: {missing} differ")
    return jax.tree.unflatten(
        wanted, [leaves[owner or ""] for owner in owners.values()]
    )


def instances(tree: Any, kind: type | tuple[type, ...]) -> list[Any]:
    """All instances of a type in a tree, such as the states of one Optax transform.

    Args:
      tree: any pytree.
      kind: type of the instances, several, or a runtime-checkable protocol.

    >>> from optax import ScaleByScheduleState
    >>> instances(({"a": ScaleByScheduleState(3)}, ()), ScaleByScheduleState)
    [ScaleByScheduleState(count=3)]
    """

    def is_kind(x: object) -> bool:
        return isinstance(x, kind)

    return [x for x in jax.tree.leaves(tree, is_leaf=is_kind) if is_kind(x)]


def path_name(path: Any) -> str:
    """A key path as a name: `layer1/0/conv1/kernel`.

    The attribute `value`, under which NNX keeps the array of a variable, is left out.

    Args:
      path: a key path, as `jax.tree_util.tree_leaves_with_path` gives them.

    >>> [(path, _)] = jax.tree_util.tree_leaves_with_path({"fc": [3]})
    >>> path_name(path)
    'fc/0'
    """
    end = len(path)
    while end > 1 and isinstance(path[end - 1], jax.tree_util.SequenceKey):
        end -= 1  # layers of a stack, which `kernels.apart` puts in a tuple
    if end > 1 and path[end - 1] == jax.tree_util.GetAttrKey("value"):
        path = (*path[: end - 1], *path[end:])
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _owner(name: str, leaves: dict[str, Any]) -> str | None:
    """The leaf of that name, or the `None` that stands for the subtree it is in."""
    if name in leaves:
        return name
    parts = name.split("/")
    above = ("/".join(parts[:i]) for i in reversed(range(len(parts))))
    found = (part for part in above if part in leaves and leaves[part] is None)
    return next(found, None)
