"""A function traced on abstract arguments; what is no array stays as it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from dst_jax import trees
from dst_jax.jaxprs.calls import Called, opened

__all__ = ["TracedFunction", "is_array", "traced"]


@dataclass(frozen=True)
class TracedFunction:
    """A program, and what its inputs and results are.

    Attributes:
      program: the jaxpr and its constants.
      paths: by number of an input, the path of the leaf of the weights that it is.
      results: what the function returns: arrays as `jax.ShapeDtypeStruct`s, and what is
        no array.
    """

    program: Called
    paths: Mapping[int, str]
    results: Any

    def returned(self, arrays: Sequence[Any]) -> Any:
        """What the function returns, from the results of the program.

        >>> found = traced(lambda x: {"y": x, "name": "a"}, (1.0,), {}, ())
        >>> found.returned([2.0])
        {'name': 'a', 'y': 2.0}
        """
        leaves, structure = jax.tree.flatten(self.results)
        rest = iter(arrays)
        filled = [next(rest) if is_array(leaf) else leaf for leaf in leaves]
        return jax.tree.unflatten(structure, filled)


def traced(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    weights: Sequence[int],
) -> TracedFunction:
    """Traces a function without computing anything.

    Args:
      fn: function of pytrees of arrays, in which anything else may stand too.
      args: its arguments, or `jax.ShapeDtypeStruct`s in place of arrays.
      kwargs: its keyword arguments.
      weights: positions of the arguments that hold the weights.

    >>> import jax.numpy as jnp
    >>> args = {"fc": jnp.eye(2)}, jnp.eye(2)
    >>> found = traced(lambda w, x: x @ w["fc"], args, {}, [0])
    >>> found.paths, found.results.shape
    ({0: 'fc'}, (2, 2))
    """
    flat, structure = jax.tree.flatten((tuple(args), dict(kwargs)))
    arrays = {i: leaf for i, leaf in enumerate(flat) if is_array(leaf)}
    returned: list[Any] = []

    def of_arrays(*given: Any) -> list[Any]:
        filled = dict(enumerate(flat)) | dict(zip(arrays, given, strict=True))
        args, kwargs = jax.tree.unflatten(structure, filled.values())
        result = fn(*args, **kwargs)
        returned.append(jax.tree.map(_abstract, result))
        return list(filter(is_array, jax.tree.leaves(result)))

    program = opened(jax.make_jaxpr(of_arrays)(*arrays.values()))
    named = _paths(args, weights)
    numbers = {at: number for number, at in enumerate(arrays)}
    paths = {numbers[at]: path for at, path in named.items() if at in numbers}
    return TracedFunction(program, paths, returned[-1])


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array, or says the shape and the type of one.

    >>> is_array(jax.ShapeDtypeStruct((2,), float)), is_array(print), is_array(2.0)
    (True, False, True)
    """
    number = isinstance(leaf, float | int | complex) and not isinstance(leaf, bool)
    return number or (hasattr(leaf, "shape") and hasattr(leaf, "dtype"))


def _abstract(leaf: Any) -> Any:
    if not hasattr(leaf, "shape"):
        return leaf
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def _paths(args: Sequence[Any], positions: Sequence[int]) -> dict[int, str]:
    """The paths of the weights' leaves by their number among the leaves of `args`.

    >>> _paths(({"x": 1.0}, {"w": 2.0}), (1,))
    {1: 'w'}
    """
    paths: dict[int, str] = {}
    start = 0
    for position, arg in enumerate(args):
        leaves = jax.tree_util.tree_leaves_with_path(arg)
        if position in positions:
            front = [str(position)] if len(positions) > 1 else []
            names = [[*front, trees.path_name(path)] for path, _ in leaves]
            paths |= {start + i: "/".join(filter(None, n)) for i, n in enumerate(names)}
        start += len(leaves)
    return paths
