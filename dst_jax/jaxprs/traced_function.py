"""A function traced on abstract arguments; what is no array stays as it is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from dst_jax import trees
from dst_jax.jaxprs.calls import Called, opened
from dst_jax.jaxprs.tracing import arrays_apart

__all__ = ["TracedFunction", "is_array", "traced"]


@dataclass(frozen=True)
class TracedFunction:
    """A program, and what its inputs and results are.

    Attributes:
      program: the jaxpr and its constants.
      paths: by number of an input, the path of the leaf of the weights that it is.
      leaves: paths of all leaves of the weights, arrays or not.
      results: what the function returns: arrays as `jax.ShapeDtypeStruct`s, and what is
        no array.
    """

    program: Called
    paths: Mapping[int, str]
    leaves: tuple[str, ...]
    results: Any

    def returned(self, arrays: Sequence[Any]) -> Any:
        """What the function returns, from the results of the program.

        >>> import jax.numpy as jnp
        >>> found = traced(lambda x: {"y": x, "name": "a"}, (jnp.ones(2),), {}, ())
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
    arrays, filled = arrays_apart(tuple(args), dict(kwargs))
    returned: list[Any] = []

    def of_arrays(*given: Any) -> list[Any]:
        args, kwargs = filled(given)
        result = fn(*args, **kwargs)
        returned.append(jax.tree.map(_abstract, result))
        return list(filter(is_array, jax.tree.leaves(result)))

    program = opened(jax.make_jaxpr(of_arrays)(*arrays.values()))
    named = _paths(args, weights)
    paths = {number: named[at] for number, at in enumerate(arrays) if at in named}
    return TracedFunction(program, paths, tuple(named.values()), returned[-1])


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array, or says the shape and the type of one.

    >>> is_array(jax.ShapeDtypeStruct((2,), float)), is_array(print), is_array(2.0)
    (True, False, False)
    """
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def _abstract(leaf: Any) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if is_array(leaf) else leaf


def _paths(args: Sequence[Any], positions: Sequence[int]) -> dict[int, str]:
    """The paths of the weights' leaves by their number among the leaves of `args`.

    >>> _paths(({"x": 1.0}, {"w": 2.0}), (1,))
    {1: 'w'}
    """
    paths: dict[int, str] = {}
    start = 0
    for position, arg in enumerate(args):
        if position in positions:
            front = [str(position)] if len(positions) > 1 else []
            names = [[*front, name] for name in trees.named_leaves(arg)]
            paths |= {start + i: "/".join(filter(None, n)) for i, n in enumerate(names)}
        start += len(jax.tree.leaves(arg))
    return paths
