"""Modules that are functions and hold their arrays themselves, as those of Equinox."""

from collections.abc import Callable
from typing import Any

import jax

__all__ = ["module_apart"]


def module_apart(
    fn: Callable[..., Any], weights: int | tuple[int, ...] = 0
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function, and what comes in front of its arguments: the module, if it is one.

    A module is a callable pytree with arrays. These are the weights, and all arguments
    of the call are data.

    Args:
      fn: a function, or a module.
      weights: positions of the weights among the arguments; of a module nothing else
        than the default.

    Returns:
      `fn` and `()`, or a function of a module and of its arguments, and the module.

    Raises:
      ValueError: `weights` is given with a module.

    >>> bound = jax.tree_util.Partial(jax.numpy.dot, jax.numpy.eye(2))
    >>> call, (module,) = module_apart(bound)
    >>> module is bound, call(module, jax.numpy.ones(2)).tolist()
    (True, [1.0, 1.0])
    >>> module_apart(abs)
    (<built-in function abs>, ())
    """
    leaves = jax.tree.leaves(fn)
    if not any(hasattr(x, "shape") and hasattr(x, "dtype") for x in leaves):
        return fn, ()
    if weights not in (0, (0,)):
        raise ValueError(
            f"weights must be left out for a {type(fn).__name__}, which holds its "
            f"weights itself, got {weights}"
        )
    return _call, (fn,)


def _call(module: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    return module(*args, **kwargs)
