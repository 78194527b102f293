"""Passes the activation maps of any network with taps through functions."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from dst_jax.activations.tap import Tap

__all__ = ["through"]


@contextmanager
def through(functions: Mapping[str, Callable[[Array], Array]]) -> Iterator[None]:
    """Passes maps through functions before they are collected or used.

    It acts while a network is traced: open it inside the function that is jitted, so
    that it is open for every trace.

        def forward(variables, x):
            with activations.through({"layer1": partial(keep_top_k, k=100)}):
                return model.apply(variables, x)

    Args:
      functions: functions `map -> map` by regex. A regex is searched for in the tap's
        path, such as `layer1/0/relu1`; the first match wins, other maps do not change.

    Raises:
      ValueError: on entry, an invalid regex; in the network, a function that changes
        the shape or the dtype of a map; on exit, a regex that matches none of the taps
        of the networks that were traced.

    >>> import jax.numpy as jnp
    >>> model = nn.Sequential([nn.relu, Tap()])
    >>> with through({"layers_1": lambda x: 2 * x}):
    ...     model.apply({}, jnp.array([-1.0, 3.0])).tolist()
    [0.0, 6.0]
    """
    rules = [(_compiled(pattern), function) for pattern, function in functions.items()]
    seen: dict[str, None] = {}

    def intercept(
        next_call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        if isinstance(context.module, Tap) and context.method_name == "__call__":
            name = "/".join(context.module.path)
            seen[name] = None
            for pattern, function in rules:
                if pattern.search(name):
                    args = (_checked(name, args[0], function(args[0])),)
                    break
        return next_call(*args, **kwargs)

    with nn.intercept_methods(intercept):
        yield
    unknown = [r.pattern for r, _ in rules if not any(map(r.search, seen))]
    if seen and unknown:
        raise ValueError(f"functions for {unknown} match none of: {', '.join(seen)}")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regex: {error}") from None


def _checked(name: str, before: Array, after: Array) -> Array:
    if (before.shape, before.dtype) != (after.shape, after.dtype):
        raise ValueError(
            f"the function for {name} must keep shape and dtype {before.shape}"
            f" {before.dtype}, got {after.shape} {after.dtype}"
        )
    return after
