"""Maps of stacked layers, apart: their batch axis, and one map a layer."""

import itertools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jaxtyping import Array

from dst_jax.jaxprs.tracing import arrays_apart

__all__ = ["unstacked"]

MapShape = tuple[Any, ...]
"""A shape; sizes are symbols where a program is exported for any batch."""

MapShapes = Mapping[str, MapShape]


def unstacked(
    maps: OrderedDict[str, Array],
    seen: MapShapes,
    traced: Callable[..., tuple[Mapping[str, Array], MapShapes]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> OrderedDict[str, Array]:
    """The maps with the batch on their first axis, those of a stack by layer.

    Args:
      maps: maps as they were collected, by name.
      seen: shape that each tap saw; a stacked map has more axes.
      traced: function from arguments of the model to maps and shapes, to be traced
        with another number of examples.
      args, kwargs: arguments of the model.

    Raises:
      ValueError: the batch axis of a stacked map is not known, or is in front of an
        axis that was stacked.

    >>> import jax.numpy as jnp
    >>> def traced(x):  # two layers
    ...     return {"relu": jnp.stack([x, 2 * x])}, {"relu": x.shape}
    >>> x = jnp.ones((3, 4))
    >>> apart = unstacked(OrderedDict(traced(x)[0]), {"relu": (3, 4)}, traced, (x,), {})
    >>> {name: x.shape for name, x in apart.items()}
    {'relu/0': (3, 4), 'relu/1': (3, 4)}
    """
    if all(x.ndim == len(seen[name]) for name, x in maps.items()):
        return maps
    stacks = [name for name, x in maps.items() if x.ndim != len(seen[name])]
    try:
        more, more_seen = _with_one_more(traced, args, kwargs)
    except Exception as error:  # whatever the model raises at another batch
        name = stacks[0]
        raise ValueError(_unknown(name, maps[name].shape, seen[name])) from error
    apart: OrderedDict[str, Array] = OrderedDict()
    for name, x in maps.items():
        if name not in stacks:
            apart[name] = x
            continue
        batch, inside = _grown(x.shape, more[name]), _grown(seen[name], more_seen[name])
        stack = _stack(x.shape, seen[name], batch, inside)
        if stack is None:
            raise ValueError(_unknown(name, x.shape, seen[name]))
        apart |= _layers(name, x, stack)
    return apart


def _with_one_more(
    traced: Callable[..., tuple[Mapping[str, Array], MapShapes]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[MapShapes, MapShapes]:
    """The shapes of maps, and those that taps see, of a batch of one example more."""
    arrays, filled = arrays_apart(args, kwargs)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path((args, kwargs))]
    inputs = [i for i, x in arrays.items() if x.ndim and not _is_key(paths[i])]
    examples = arrays[inputs[0]].shape[:1] if inputs else ()
    shapes = [
        jax.ShapeDtypeStruct((x.shape[0] + 1, *x.shape[1:]), x.dtype)
        if i in inputs and x.shape[:1] == examples
        else x
        for i, x in arrays.items()
    ]
    seen: dict[str, MapShape] = {}

    def of_arrays(*given: Any) -> Any:
        args, kwargs = filled(given)
        maps, shapes = traced(*args, **kwargs)
        seen.update(shapes)
        return dict(maps)

    maps = jax.eval_shape(of_arrays, *shapes)
    return {name: x.shape for name, x in maps.items()}, seen


def _is_key(path: Any) -> bool:
    """Whether a leaf is one of the random keys, `kwargs["rngs"]`."""
    return path[0].idx == 1 and getattr(path[1], "key", None) == "rngs"


def _stack(
    shape: MapShape,
    seen: MapShape,
    batch: int | None,
    inside: int | None,
) -> list[int] | None:
    """The axes that were stacked; None if that is not certain.

    Args:
      shape: shape of a map.
      seen: shape that its tap saw.
      batch: batch axis of the map, if it is known.
      inside: batch axis of what the tap saw; None if `vmap` took it off.

    >>> _stack((2, 3, 4), (3, 4), batch=1, inside=0), _stack((3, 4), (4,), 0, None)
    ([0], [])
    >>> _stack((3, 2, 4), (3, 4), batch=0, inside=0)
    """
    front = len(shape) - len(seen)
    if batch is None or shape[front:] != seen:
        return None
    if inside == 0:
        return list(range(front)) if batch == front else None
    if inside is None and batch < front:
        return [axis for axis in range(front) if axis != batch]
    return None


def _grown(shape: MapShape, larger: MapShape) -> int | None:
    """The one axis that is longer for one example more; None if there is none."""
    axes = [i for i, (a, b) in enumerate(zip(shape, larger, strict=True)) if a != b]
    return axes[0] if len(axes) == 1 else None


def _layers(name: str, x: Array, stack: list[int]) -> OrderedDict[str, Array]:
    """The maps of the layers along axes, by their indices."""
    apart: OrderedDict[str, Array] = OrderedDict()
    for index in itertools.product(*(range(x.shape[axis]) for axis in stack)):
        at = dict(zip(stack, index, strict=True))
        layer = x[tuple(at.get(axis, slice(None)) for axis in range(x.ndim))]
        apart["/".join([name, *map(str, index)])] = layer
    return apart


def _unknown(name: str, shape: MapShape, seen: MapShape) -> str:
    return (
        f"the batch axis of the maps of {name} is not known: they are {shape} after "
        f"scan or vmap of a tap that sees {seen}; a tap sees (batch, ...), or one "
        "example under a vmap over the batch, and maps of layers are stacked in front "
        "(by variable_axes={'activations': 0} in Linen)"
    )
