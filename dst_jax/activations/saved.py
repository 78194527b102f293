"""Weight gradients of any Linen network from sparse copies of what layers read."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array

from dst_jax import checks
from dst_jax.activations.top_k import keep_top_k, sparsify_saved
from dst_jax.typing import Rules

__all__ = ["saving_largest"]

_OPERATIONS: dict[type[nn.Module], tuple[str, Callable[..., Array]]] = {
    nn.Conv: ("conv_general_dilated", jax.lax.conv_general_dilated),
    nn.Dense: ("dot_general", jax.lax.dot_general),
    nn.DenseGeneral: ("dot_general", jax.lax.dot_general),
}
"""The attribute of a layer that holds its operation, and what it is if not given."""


@contextmanager
def saving_largest(sparsity: float, *, rules: Rules = ()) -> Iterator[None]:
    """Convolutions and dense layers save the largest of their inputs for the gradient.

    Of every example a layer saves the inputs of largest magnitude; from them follows
    the gradient of its kernel. Its value and the gradient of its input do not change,
    see `sparsify_saved`. It acts while a network is traced: open it inside the function
    that is differentiated, so that it is open for every trace.

    Args:
      sparsity: share of the inputs that are left out, in [0, 1).
      rules: `[(regex, bool), ...]` over the path names of kernels, such as
        `layer1/0/conv1/kernel`: the layers that it acts on. First match wins; layers
        without a match are among them.

    Raises:
      ValueError: on entry, `sparsity` is out of range; on exit, no such layer was
        traced: no `flax.linen.Conv`, `Dense` or `DenseGeneral` that the rules leave.

    Reference:
      SWAT (Raihan & Aamodt 2020, arXiv 2007.15353), together with `pruning.ste`.

    >>> import jax.numpy as jnp
    >>> layer, x = nn.Dense(1, use_bias=False), jnp.array([[3.0, 0.5]])
    >>> def total(kernel):
    ...     with saving_largest(0.5):
    ...         return layer.apply({"params": {"kernel": kernel}}, x).sum()
    >>> jax.grad(total)(jnp.ones((2, 1))).ravel().tolist()
    [3.0, 0.0]
    """
    checks.fraction("sparsity", sparsity)
    traced = False

    def intercept(
        next_call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        nonlocal traced
        module = context.module
        found = [pair for kind, pair in _OPERATIONS.items() if isinstance(module, kind)]
        path = "/".join((*module.path, "kernel"))
        if context.method_name != "__call__" or not found or not _chosen(path, rules):
            return next_call(*args, **kwargs)
        traced = True
        name, default = found[0]
        made_by: Any = getattr(module, f"{name}_cls")
        given = getattr(module, name) if made_by is None else made_by()
        largest = partial(_largest, 1 - sparsity)
        sparse = sparsify_saved(given or default, largest)
        with _replaced(module, {name: sparse, f"{name}_cls": None}):
            return next_call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield
    if not traced:
        raise ValueError(
            "saving_largest acts on flax.linen's Conv, Dense and DenseGeneral: none was"
            f" traced that the rules {list(rules)} leave"
        )


def _chosen(path: str, rules: Rules) -> bool:
    matches = (value for pattern, value in rules if re.search(pattern, path))
    return next(matches, True)


def _largest(share: float, x: Array) -> Array:
    return keep_top_k(x, round(share * x[0].size))


@contextmanager
def _replaced(module: nn.Module, values: dict[str, Any]) -> Iterator[None]:
    """A layer with other attributes; Flax allows no change of them by name."""
    before = {name: getattr(module, name) for name in values}
    try:
        for name, value in values.items():
            object.__setattr__(module, name, value)
        yield
    finally:
        for name, value in before.items():
            object.__setattr__(module, name, value)
