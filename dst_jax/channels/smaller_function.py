"""A function on the smaller arrays, by replaying its trace on what is kept."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import trees
from dst_jax.channels.groups import Groups
from dst_jax.channels.kept_positions import Keep, kept_positions
from dst_jax.channels.leaf_units import leaf_units
from dst_jax.channels.replay import Replay
from dst_jax.channels.replay.held_positions import Small
from dst_jax.jaxprs.traced_function import TracedFunction, is_array, traced
from dst_jax.jaxprs.tracing import argument_positions

__all__ = ["smaller"]


def smaller(
    fn: Callable[..., Any],
    groups: Groups,
    keep: Keep,
    *,
    weights: int | tuple[int, ...] = 0,
    has_aux: bool = False,
) -> Callable[..., Any]:
    """`fn` on arrays from which units have been removed.

    `fn` is not called with the smaller arrays: it is traced on whole ones, and every
    equation is bound again with the positions that are kept. Numbers that its code
    holds, such as the size of a head or the number of elements of a mean, stay those of
    the original.

    Args:
      fn: the function whose `groups` these are.
      groups: from `channels.groups`.
      keep: `{group: bool[size]}`, as given to `channels.remove`.
      weights: positions of the arguments whose leaves are smaller.
      has_aux: whether `fn` returns `(output, aux)`, of which `aux` may be smaller.

    Returns:
      A function of the arguments of `fn`, of any batch size: to be jitted,
      differentiated, counted and exported as any other.

    Raises:
      ValueError: as `channels.remove` for `keep`; at the call, a leaf has another shape
        than what is kept of it, what is removed cannot be removed with arguments of
        this kind, or a shape has symbols of `jax.export` in it.

    >>> from dst_jax import channels
    >>> fn = lambda w, x: jax.nn.relu(x @ w["fc1"]) @ w["fc2"]
    >>> w, x = {"fc1": jnp.ones((4, 3)), "fc2": jnp.ones((3, 2))}, jnp.ones((1, 4))
    >>> groups, keep = channels.groups(fn)(w, x), {"fc1": [True, False, True]}
    >>> smaller(fn, groups, keep)(channels.remove(w, groups, keep), x).tolist()
    [[8.0, 8.0]]
    """
    positions = argument_positions(weights)
    kept = kept_positions(groups, keep)

    @functools.wraps(fn)
    def replayed(*args: Any, **kwargs: Any) -> Any:
        arrays = [x for x in jax.tree.leaves((args, kwargs)) if is_array(x)]
        _numbers([x.shape for x in arrays])
        whole = list(args)
        for i in positions:
            whole[i] = _whole(args[i], groups, str(i) if len(positions) > 1 else "")
        function = traced(fn, whole, kwargs, positions)
        start = leaf_units(function)
        by_unit = np.ones(start.size, bool)
        for path, axes in kept.items():
            for axis, mask in axes.items():
                by_unit[start.axes[path, axis]] = mask
        replay = Replay.of(function.program, start.inputs, by_unit, split=groups.split)
        inputs = [
            Small(jnp.asarray(array), units)
            for array, units in zip(arrays, start.inputs, strict=True)
        ]
        _check(function, inputs, replay)
        results = replay.run(function.program, inputs)
        output = function.results[0] if has_aux else function.results
        count = len(list(filter(is_array, jax.tree.leaves(output))))
        _outputs_whole(results[:count], replay)
        return function.returned([value.array for value in results])

    return replayed


def _numbers(shapes: Sequence[tuple[Any, ...]]) -> None:
    """Refuses shapes whose positions cannot be followed."""
    for shape in shapes:
        if not all(isinstance(size, int | np.integer) for size in shape):
            raise ValueError(
                f"the shape of an argument must be numbers, got {shape}: for a batch of"
                " any size, export jax.vmap of the function of one example"
            )


def _whole(arg: Any, groups: Groups, prefix: str) -> Any:
    """An argument with the shapes that its leaves had before anything was removed."""

    def of(path: str, leaf: Any) -> Any:
        name = "/".join(filter(None, (prefix, path)))
        if not is_array(leaf) or name not in groups.shapes:
            return leaf
        return jax.ShapeDtypeStruct(groups.shapes[name], jnp.result_type(leaf))

    return trees.map_named(of, arg)


def _check(function: TracedFunction, inputs: Sequence[Small], replay: Replay) -> None:
    for number, value in enumerate(inputs):
        shape = tuple(int(mask.sum()) for mask in replay.held(value.units))
        if value.array.shape != shape:
            path = function.paths.get(number, f"input {number}")
            raise ValueError(f"{path} must have shape {shape}, got {value.array.shape}")


def _outputs_whole(results: Sequence[Small], replay: Replay) -> None:
    for value in results:
        if not all(mask.all() for mask in replay.held(value.units)):
            raise ValueError(
                "the output must not shrink: name what may with has_aux=True, got an"
                f" output of shape {value.array.shape}"
            )
