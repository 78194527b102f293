"""A function of batches, applied to every example by itself."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from dst_jax.jaxprs.callable_modules import module_apart
from dst_jax.jaxprs.tracing import argument_positions, arrays_apart

__all__ = ["each_example", "of_each_example"]


def of_each_example(
    found: Callable[..., Any],
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...],
) -> Callable[..., Any]:
    """What an analysis of `fn` finds, for every example apart.

    Args:
      found: the analysis, a function of the arguments of `fn`.
      fn, weights: what it analyses, as in `cost.count`. The leaves of a module are its
        weights, then all arguments hold examples.

    >>> import jax.numpy as jnp
    >>> product = lambda w, x: x @ w
    >>> each = of_each_example(product, product, weights=0)
    >>> each(jnp.eye(2), jnp.ones((3, 2))).shape
    (3, 1, 2)
    """
    _, module = module_apart(fn, weights)
    return each_example(found, shared=() if module else argument_positions(weights))


def each_example(
    fn: Callable[..., Any], *, shared: tuple[int, ...]
) -> Callable[..., Any]:
    """The function `fn` vmapped over the examples, each as a batch of one.

    Args:
      fn: function of batches, whose leading axes are the examples.
      shared: positions of the arguments that hold no examples.

    Returns:
      A function of the arguments of `fn`. Arrays without axes are shared too. Every
      leaf of its result has a leading axis: the examples.

    Raises:
      ValueError: at the call: the leading axes differ, or there is none.

    >>> import jax.numpy as jnp
    >>> each_example(lambda x: x.sum(), shared=())(jnp.ones((2, 3))).tolist()
    [3.0, 3.0]
    """

    @functools.wraps(fn)
    def apart(*args: Any, **kwargs: Any) -> Any:
        arrays, filled = arrays_apart(args, kwargs)
        paths = [path for path, _ in jax.tree.leaves_with_path((args, kwargs))]
        axes = [
            None if _is_shared(paths[i], leaf, shared) else 0
            for i, leaf in arrays.items()
        ]
        leaves = list(arrays.values())
        _check_batch([x for x, axis in zip(leaves, axes, strict=True) if axis == 0])

        def one(*example: Any) -> Any:
            args, kwargs = filled(
                [
                    x if axis is None else x[None]
                    for x, axis in zip(example, axes, strict=True)
                ]
            )
            return fn(*args, **kwargs)

        return jax.vmap(one, in_axes=tuple(axes))(*leaves)

    return apart


def _is_shared(path: Any, leaf: Any, shared: tuple[int, ...]) -> bool:
    kind, argument, *_ = path
    return getattr(leaf, "ndim", 0) == 0 or (kind.idx == 0 and argument.idx in shared)


def _check_batch(data: list[Any]) -> None:
    sizes = sorted({len(x) for x in data})
    if len(sizes) != 1:
        raise ValueError(
            "per_example needs data arguments with one leading axis of examples, got "
            f"{', '.join(map(str, sizes)) or 'no arrays'}"
        )
