"""A function traced, and a visitor taken through its operations."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dst_jax import checks, trees
from dst_jax.jaxprs import module_paths as naming
from dst_jax.jaxprs.callable_modules import module_apart
from dst_jax.jaxprs.calls import opened
from dst_jax.jaxprs.control_flow import SUMMED, Control
from dst_jax.jaxprs.hidden_products import refuse_hidden
from dst_jax.jaxprs.operand_roles import Role
from dst_jax.jaxprs.operation_owners import owners
from dst_jax.jaxprs.plain_derivatives import plain_derivatives
from dst_jax.jaxprs.values import Value
from dst_jax.jaxprs.walker import Settle, Visit, evaluate, settled

__all__ = ["argument_positions", "arrays_apart", "check_weights", "visited"]


def visited(
    fn: Callable[..., Any],
    visit: Visit,
    *,
    weights: int | tuple[int, ...],
    with_output: bool = False,
    opaque: str = "raise",
    control: Mapping[str, Control] = SUMMED,
    settle: Settle = list,
) -> Callable[..., Any]:
    """A function of the arguments of `fn` that returns what a visitor finds in it.

    Args:
      fn: a function of arrays, or pytrees of arrays. Leaves that are no arrays, such as
        functions and flags, stay as they are. Or a module, see `module_apart`.
      visit: called at every operation, see `walker.Visit`.
      weights: positions of the arguments that hold the weights.
      with_output: whether to return the output of `fn` as well.
      opaque: whether operations that cannot be counted are refused, "raise", or are
        among those found as `Uncounted`, "list".
      control: how to evaluate loops, branches and the like with operations inside.
      settle: makes what is returned of what was visited, see `walker.Settle`.

    Returns:
      A function that returns an OrderedDict, because jit sorts a dict by key, in order
      of execution, or `(output, OrderedDict)`.

    Raises:
      TypeError: `weights` is no integer, nor integers.
      ValueError: `weights` names no argument, or one without arrays, `opaque` is
        unknown, or an operation cannot be counted.

    >>> def shape(eqn, args, results):
    ...     return jnp.array(results[0].array.shape)
    >>> products = visited(lambda w, x: x @ w, shape, weights=0)
    >>> products(jnp.ones((2, 3)), jnp.ones((5, 2)))["dot_general"].tolist()
    [5, 3]
    """
    positions = argument_positions(weights)
    checks.one_of("opaque", opaque, ("raise", "list"))
    call, module = module_apart(fn, weights)

    @functools.wraps(fn, updated=())
    def found(*args: Any, **kwargs: Any) -> Any:
        args = (*module, *args)
        check_weights(positions, args)
        arrays, filled = arrays_apart(args, kwargs)

        def of_arrays(*given: Any) -> Any:
            args, kwargs = filled(given)
            return call(*args, **kwargs)

        trace = jax.make_jaxpr(of_arrays, return_shape=True)
        with plain_derivatives():
            closed, out = trace(*arrays.values())
        program = opened(closed)
        if opaque == "raise":
            refuse_hidden(program.jaxpr)
        modules = _modules(arrays, args, positions)
        roles = [Role.DATA if module is None else Role.WEIGHT for module in modules]
        inputs = [
            Value(jnp.asarray(array), role)
            for array, role in zip(arrays.values(), roles, strict=True)
        ]
        values, operations = evaluate(
            program, inputs, visit=visit, control=control, settle=settle
        )
        operations = settled(operations, settle)
        keys = naming.keys(
            [(op.path, op.primitive) for op in operations],
            owners(program, modules),
            modules=naming.modules_of(modules),
        )
        named = OrderedDict(
            (key, op.counts) for key, op in zip(keys, operations, strict=True)
        )
        if not with_output:
            return named
        outputs = [jnp.asarray(value.array) for value in values]
        return jax.tree.unflatten(jax.tree.structure(out), outputs), named

    return found


def argument_positions(weights: int | tuple[int, ...]) -> tuple[int, ...]:
    """The positions of the arguments that hold the weights.

    >>> argument_positions(0)
    (0,)
    """
    positions = (weights,) if isinstance(weights, int) else tuple(weights)
    for position in positions:
        if not isinstance(position, int):
            raise TypeError(f"weights must be argument positions, got {weights!r}")
        if position < 0:
            raise ValueError(f"weights must be argument positions >= 0, got {weights}")
    return positions


def check_weights(positions: tuple[int, ...], args: tuple[Any, ...]) -> None:
    """Refuses positions that name no argument, or one without arrays.

    Raises:
      ValueError: a position is no argument's, or its argument has no leaves.

    >>> check_weights((1,), (3.0,))
    Traceback (most recent call last):
    ValueError: weights must be below the number of positional arguments, 1, got 1
    """
    if positions and max(positions) >= len(args):
        raise ValueError(
            f"weights must be below the number of positional arguments, "
            f"{len(args)}, got {max(positions)}"
        )
    for position in positions:
        if not jax.tree.leaves(args[position]):
            raise ValueError(
                f"weights names argument {position}, which holds no arrays: "
                f"{args[position]!r}"
            )


def arrays_apart(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[int, Any], Callable[[Sequence[Any]], Any]]:
    """The arrays among the leaves of arguments, and a function that replaces them.

    Equinox keeps functions and flags among the leaves of a module.

    Args:
      args: positional arguments.
      kwargs: keyword arguments.

    Returns:
      The arrays by the number of the leaf, and a function from as many values to
      `(args, kwargs)` with these values in the place of the arrays.

    >>> arrays, filled = arrays_apart((jnp.ones(2), jnp.sin), {"train": True})
    >>> list(arrays), filled([3.0])
    ([0], ((3.0, <...>), {'train': True}))
    """
    leaves, structure = jax.tree.flatten((args, kwargs))
    arrays = {
        i: leaf
        for i, leaf in enumerate(leaves)
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype")
    }

    def filled(given: Sequence[Any]) -> Any:
        values = dict(enumerate(leaves)) | dict(zip(arrays, given, strict=True))
        return jax.tree.unflatten(structure, values.values())

    return arrays, filled


def _modules(
    arrays: Iterable[int], args: tuple[Any, ...], weights: tuple[int, ...]
) -> list[naming.Path | None]:
    """The path of the module of every array, or its own outside of any; None for data.

    Args:
      arrays: numbers of the leaves that are arrays.
      args: positional arguments.
      weights: positions of those that hold weights.

    >>> _modules([0, 1], ({"fc": {"kernel": 1.0}}, 2.0), (0,))
    [('fc',), None]
    """
    modules: list[naming.Path | None] = []
    for i, arg in enumerate(args):
        for path, _ in jax.tree_util.tree_leaves_with_path(arg):
            names = tuple(filter(None, trees.path_name(path).split("/")))
            modules.append((names[:-1] or names) if i in weights else None)
    return [modules[i] if i < len(modules) else None for i in arrays]
