"""Modules of Equinox and NNX that run on smaller arrays with their own code."""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from dst_jax import trees
from dst_jax.channels.groups import Groups
from dst_jax.channels.kept_positions import Keep
from dst_jax.channels.relations import SplitSide
from dst_jax.channels.removal import remove
from dst_jax.channels.same_program import difference
from dst_jax.channels.smaller_function import smaller
from dst_jax.jaxprs.traced_function import is_array, traced
from dst_jax.jaxprs.tracing import argument_positions, check_weights

__all__ = ["shrunk"]

Shapes = Mapping[str, tuple[int, ...]]

# By attribute, the leaf and the axis that have its size.
SIZES = {
    "in_features": (("kernel", -2), ("weight", 1)),
    "out_features": (("kernel", -1), ("weight", 0)),
    "in_channels": (("weight", 1),),
    "out_channels": (("weight", 0),),
    "features": (("embedding", -1),),
    "num_features": (("scale", -1), ("bias", -1), ("mean", -1)),
    "channels": (("weight", 0), ("bias", 0)),
    "input_size": (("weight", 0), ("bias", 0)),
    "num_heads": (("query/kernel", -2),),
}
# By attribute, the leaves that have its shape.
SHAPES = {"kernel_shape": ("kernel",)}
CONV_GROUPS = ("feature_group_count", "groups")


def shrunk(
    fn: Callable[..., Any],
    groups: Groups,
    keep: Keep,
    *,
    weights: int | tuple[int, ...] = 0,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """A function that gives a module of smaller arrays, which its own code runs.

    `channels.smaller` runs any function on smaller arrays. This is for those who want
    their Equinox or NNX module back: the module has its type and its code, its arrays
    are those of `channels.remove`, and what its layers hold about their sizes, such as
    `out_features` and `groups`, fits them. What it computes is compared, operation by
    operation, with `channels.smaller`: code that holds a number which no longer fits,
    such as a reshape, is refused. `channels.linen.shrunk` is for Linen.

    Args:
      fn: function whose `groups` these are, such as `lambda model, x: model(x)`, in
        evaluation: dropout draws other numbers for smaller arrays.
      groups: from `channels.groups`.
      keep: `{group: bool[size]}`, as given to `channels.remove`.
      weights: positions of the arguments whose leaves are smaller: the module, and the
        state next to it.
      has_aux: whether `fn` returns `(output, aux)`, of which `aux` may be smaller.

    Returns:
      A function of the arguments of `fn` that returns the smaller module, or as many as
      `weights` has positions. The arguments do not change.

    Raises:
      ValueError: as `channels.remove`; at the call, a module is in two places, or the
        smaller module would compute something else than `channels.smaller`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from dst_jax import channels
    >>> net = nnx.Sequential(
    ...     nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.relu, nnx.Linear(4, 2, rngs=nnx.Rngs(1))
    ... )
    >>> call, x = lambda net, x: net(x), jnp.ones((1, 3))
    >>> found = channels.groups(call)(net, x)
    >>> small = shrunk(call, found, {"layers/0": [True, False, True, True]})(net, x)
    >>> type(small).__name__, small.layers[0].out_features, small(x).shape
    ('Sequential', 3, (1, 2))
    """
    positions = argument_positions(weights)

    @functools.wraps(fn)
    def smaller_modules(*args: Any, **kwargs: Any) -> Any:
        check_weights(positions, args)
        several = len(positions) > 1
        whole = {str(i): args[i] for i in positions}
        for modules in whole.values():
            _refuse_shared(modules)
        (only,) = whole.values() if not several else (None,)
        removed = remove(whole if several else only, groups, keep)
        fitted = jax.tree.map(lambda leaf: leaf, removed)  # modules of its own
        shapes = _shapes(whole if several else only), _shapes(removed)
        for path, module in _modules(fitted):
            _fit(module, *(_below(path, own) for own in shapes), split=groups.split)
        parts = list(fitted.values()) if several else [fitted]
        originals = list(removed.values()) if several else [removed]
        replayed = smaller(fn, groups, keep, weights=weights, has_aux=has_aux)
        expected = _program(replayed, args, positions, originals, kwargs)
        try:
            own = _program(fn, args, positions, parts, kwargs)
        except Exception as error:  # whatever the code of a module raises
            raise ValueError(_misfit(str(error).splitlines()[0])) from error
        reason = difference(own, expected)
        if reason is not None:
            raise ValueError(_misfit(reason))
        return tuple(parts) if several else fitted

    return smaller_modules


def _program(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    positions: tuple[int, ...],
    modules: list[Any],
    kwargs: dict[str, Any],
) -> Any:
    """The trace of a function with other modules among its arguments."""
    given = list(args)
    for i, module in zip(positions, modules, strict=True):
        given[i] = module
    return traced(fn, given, kwargs, positions).program


def _misfit(reason: str) -> str:
    return (
        "the code of the module must not hold numbers that smaller arrays do not fit,"
        f" got: {reason}; run it with channels.smaller"
    )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    named = trees.named_leaves(tree)
    return {name: tuple(x.shape) for name, x in named.items() if is_array(x)}


def _below(path: str, shapes: Shapes) -> Shapes:
    """The shapes of the leaves below a path, by the rest of theirs.

    >>> _below("fc", {"fc/kernel": (2, 3), "fc2/kernel": (3, 4)})
    {'kernel': (2, 3)}
    """
    front = f"{path}/" if path else ""
    return {
        name.removeprefix(front): shape
        for name, shape in shapes.items()
        if name.startswith(front)
    }


def _children(node: Any) -> list[tuple[Any, Any]]:
    """What a node of a pytree holds, with the key of each."""
    return jax.tree_util.tree_leaves_with_path(node, is_leaf=lambda x: x is not node)


def _modules(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every node of a pytree that has attributes, with its path."""
    if hasattr(node, "__dict__") and not is_array(node):
        yield jax.tree_util.keystr(path, simple=True, separator="/"), node
    for key, child in _children(node):
        if child is not node and not is_array(child):
            yield from _modules(child, (*path, *key))


def _refuse_shared(module: Any) -> None:
    places: dict[int, str] = {}
    for path, node in _modules(module):
        if not any(map(is_array, jax.tree.leaves(node))):
            continue
        first = places.setdefault(id(node), path)
        if first != path:
            raise ValueError(
                f"a module must be in one place, got one that is {first!r} and {path!r}:"
                " split it, as nnx.split does, and run it with channels.smaller"
            )


def _fit(module: Any, whole: Shapes, small: Shapes, *, split: SplitSide) -> None:
    """Changes what a module holds about sizes of arrays that are smaller now."""
    found: dict[str, Any] = {}
    for name, leaves in SHAPES.items():
        found |= {name: small[leaf] for leaf in leaves[::-1] if leaf in small}
    for name, places in SIZES.items():
        for leaf, axis in places[::-1]:
            if leaf in small and len(small[leaf]) >= (-axis if axis < 0 else axis + 1):
                found[name] = small[leaf][axis]
    attributes = vars(module)
    found |= _groups_of(attributes, whole, small, split)
    for name in ("in_features", "in_channels"):
        if name in found:
            count = (found.get(g, attributes.get(g, 1)) for g in CONV_GROUPS)
            found[name] *= next((n for n in count if n != 1), 1)
    for name in ("in_features", "out_features"):
        if isinstance(attributes.get(name), tuple) and "kernel" in small:
            count = len(attributes[name])
            outputs = len(attributes["out_features"])
            axes = small["kernel"][-outputs:]
            if name == "in_features":
                axes = small["kernel"][-outputs - count : -outputs]
            found[name] = axes
    for name, value in found.items():
        own = attributes.get(name)
        if type(own) is type(value) and own != value:
            object.__setattr__(module, name, value)


def _groups_of(
    attributes: Mapping[str, Any], whole: Shapes, small: Shapes, split: SplitSide
) -> dict[str, int]:
    """The numbers of groups of a convolution, or of a normalisation, that is smaller."""
    for name, leaf, read, produced in (
        ("feature_group_count", "kernel", -2, -1),
        ("groups", "weight", 1, 0),
    ):
        if name in attributes and len(small.get(leaf, ())) > 1:
            old, new = whole[leaf], small[leaf]
            if attributes[name] == 1 or old[read] != new[read]:
                return {}  # every group lost the same inputs
            return {name: attributes[name] * new[produced] // old[produced]}
    for name, leaf in (("num_groups", "scale"), ("groups", "weight")):
        if name in attributes and leaf in small and small[leaf] != whole[leaf]:
            size = whole[leaf][0] // attributes[name]
            if split == "outer":
                return {name: small[leaf][0] // size}
            return {"group_size": small[leaf][0] // attributes[name]}
    return {}
