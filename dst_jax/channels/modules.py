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
from dst_jax.jaxprs.calls import Called
from dst_jax.jaxprs.traced_function import is_array, traced
from dst_jax.jaxprs.tracing import argument_positions, check_weights

__all__ = ["shrunk"]

LeafShapes = Mapping[str, tuple[int, ...]]
Places = tuple[tuple[str, int], ...]

# By attribute, the leaf and the axis that have its size.
SIZES: dict[str, Places] = {
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


def shrunk(
    fn: Callable[..., Any],
    groups: Groups,
    keep: Keep,
    *,
    weights: int | tuple[int, ...] = 0,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """A function that returns a module of smaller arrays, which its own code runs.

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
      TypeError: `weights` is no integer, nor integers.
      ValueError: `weights` names no argument; as `channels.remove`; or, at the call, a
        module is in two places, or the smaller module would compute something else
        than `channels.smaller`.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from dst_jax import channels
    >>> rngs = nnx.Rngs(0)
    >>> layers = nnx.Linear(3, 4, rngs=rngs), nnx.relu, nnx.Linear(4, 2, rngs=rngs)
    >>> net = nnx.Sequential(*layers)
    >>> call, x = lambda net, x: net(x), jnp.ones((1, 3))
    >>> found = channels.groups(call)(net, x)
    >>> small = shrunk(call, found, {"layers/0": [True, False, True, True]})(net, x)
    >>> type(small).__name__, small.layers[0].out_features, small(x).shape
    ('Sequential', 3, (1, 2))
    """
    positions = argument_positions(weights)
    if not positions:
        raise ValueError(f"weights must name an argument, got {weights!r}")
    single = len(positions) == 1

    @functools.wraps(fn)
    def smaller_modules(*args: Any, **kwargs: Any) -> Any:
        check_weights(positions, args)
        whole = args[positions[0]] if single else {str(i): args[i] for i in positions}
        _refuse_shared(whole)
        removed = remove(whole, groups, keep)
        fitted = jax.tree.map(lambda leaf: leaf, removed)  # modules of its own
        shapes = _shapes(whole), _shapes(removed)
        for path, module in _modules(fitted):
            _fit(module, *(_below(path, own) for own in shapes), split=groups.split)

        def program(fn: Callable[..., Any], modules: Any) -> Called:
            parts = [modules] if single else modules.values()
            given = dict(enumerate(args)) | dict(zip(positions, parts, strict=True))
            return traced(fn, tuple(given.values()), kwargs, positions).program

        replayed = smaller(fn, groups, keep, weights=weights, has_aux=has_aux)
        expected = program(replayed, removed)
        try:
            reason = difference(program(fn, fitted), expected)
        except Exception as error:  # whatever the code of a module raises
            raise ValueError(_misfit(str(error).partition("\n")[0])) from error
        if reason is not None:
            raise ValueError(_misfit(reason))
        return fitted if single else tuple(fitted.values())

    return smaller_modules


def _misfit(reason: str) -> str:
    return (
        "the code of the module must not hold numbers that smaller arrays do not fit,"
        f" got: {reason}; run it with channels.smaller"
    )


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    named = trees.named_leaves(tree)
    return {name: tuple(x.shape) for name, x in named.items() if is_array(x)}


def _below(path: str, shapes: LeafShapes) -> LeafShapes:
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
                f"a module must be in one place, got one that is {first!r} and"
                f" {path!r}: split it, as nnx.split does, and run it with"
                " channels.smaller"
            )


def _fit(
    module: Any, whole: LeafShapes, small: LeafShapes, *, split: SplitSide
) -> None:
    """Changes what a module holds about sizes of arrays that are smaller now."""
    if whole == small:
        return
    attributes = vars(module)
    groups = _groups_of(attributes, whole, small, split)
    before = _sizes(attributes, whole) | {name: attributes[name] for name in groups}
    after = _sizes(attributes | groups, small) | groups
    for name, value in after.items():
        if name in attributes and attributes[name] == before.get(name):
            object.__setattr__(module, name, value)


def _sizes(attributes: Mapping[str, Any], shapes: LeafShapes) -> dict[str, Any]:
    """What layers of NNX and Equinox hold about arrays of these shapes."""
    found: dict[str, Any] = {}
    for name, places in SIZES.items():
        size = _size(shapes, places)
        if size is not None:
            found[name] = size
    for name, of in (("in_features", "feature_group_count"), ("in_channels", "groups")):
        if name in found:
            found[name] *= attributes.get(of, 1)
    if "kernel" in shapes:
        found["kernel_shape"] = shapes["kernel"]
        found |= _general(attributes, shapes["kernel"])
    return found


def _size(small: LeafShapes, places: Places) -> int | None:
    """The size of the first of some axes that there is."""
    for leaf, axis in places:
        shape = small.get(leaf, ())
        if -len(shape) <= axis < len(shape):
            return shape[axis]
    return None


def _general(
    attributes: Mapping[str, Any], kernel: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Features along several axes, as in `nnx.LinearGeneral`.

    >>> _general({"in_features": (8,), "out_features": (4, 2)}, (8, 3, 2))
    {'in_features': (8,), 'out_features': (3, 2)}
    """
    given, made = (attributes.get(name) for name in ("in_features", "out_features"))
    if not isinstance(given, tuple) or not isinstance(made, tuple):
        return {}
    start = len(kernel) - len(made)
    return {
        "in_features": kernel[start - len(given) : start],
        "out_features": kernel[start:],
    }


def _groups_of(
    attributes: Mapping[str, Any],
    whole: LeafShapes,
    small: LeafShapes,
    split: SplitSide,
) -> dict[str, int]:
    """Numbers of groups of a smaller convolution, or of a smaller normalisation."""
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
        if name in attributes and small.get(leaf) != whole.get(leaf):
            (old,), (new,) = whole[leaf], small[leaf]
            if split == "outer":
                return {name: new * attributes[name] // old}
            return {"group_size": new // attributes[name]}
    return {}
