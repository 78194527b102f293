"""Runs a model and returns its tapped activation maps."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import flax.linen as nn
from flax.traverse_util import flatten_dict
from jaxtyping import Array

from dst_jax import checks
from dst_jax.activations.n_of_m import patterns_of
from dst_jax.activations.stacked import unstacked
from dst_jax.activations.tap import COLLECTION, PATTERNS, THRESHOLDS, Tap
from dst_jax.activations.threshold_variables import thresholds_of

__all__ = ["apply_with_activations"]


class _Seen(NamedTuple):
    """What a tap, or a layer that takes patterns, saw of its input and variables."""

    shape: tuple[Any, ...]  # symbols, where a program is exported for any batch
    has: frozenset[str]  # of thresholds and patterns, the collections that it reads
    is_tap: bool


def apply_with_activations(
    model: nn.Module,
    variables: Mapping[str, Any],
    *args: Any,
    mutable: str | list[str] | tuple[str, ...] = (),
    **kwargs: Any,
) -> tuple[Any, OrderedDict[str, Array], dict[str, Any]]:
    """`model.apply` that also returns the map at every `Tap`.

    A tap inside `nn.scan` or `nn.vmap` has a map for each layer: `layers/relu/0`,
    `layers/relu/1`, ... The collection must be stacked along the first axis, with
    `variable_axes={"activations": 0}`. Where the batch is on such a map is found by
    tracing the model with one example more. A `vmap` over the examples stacks none.

    Args:
      model: Linen module with taps.
      variables: variables of the model.
      *args: inputs of the model.
      mutable: collections that the pass updates, for instance "batch_stats".
      **kwargs: further arguments of `model.apply`: `train`, `rngs`, `method`, ...

    Returns:
      `(output, activations, updated_collections)`: `activations` maps module paths
      such as `layer1/0/relu1` to arrays (batch, ...), in order of execution, the layers
      of a stack one after another.

    Raises:
      ValueError: the maps of a tap are not collected, or their batch axis is not known;
        or the variables have a threshold or a pattern for a tap that there is not, or
        that does not read it.

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax.activations.tap import Tap
    >>> model = nn.Sequential([nn.Dense(3), nn.relu, Tap()])
    >>> variables = model.init(jax.random.key(0), jnp.ones((2, 4)))
    >>> _, maps, _ = apply_with_activations(model, variables, jnp.ones((2, 4)))
    >>> {name: x.shape for name, x in maps.items()}
    {'layers_2': (2, 3)}
    """
    collections = [mutable] if isinstance(mutable, str) else list(mutable)
    fresh = {name: tree for name, tree in variables.items() if name != COLLECTION}

    def applied(*args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        output, updated = model.apply(
            fresh, *args, mutable=[*collections, COLLECTION], **kwargs
        )
        return output, dict(updated)

    with _watched() as seen:
        output, updated = applied(*args, **kwargs)
    maps = _maps(updated.pop(COLLECTION, {}))
    _check_collected(maps, seen)
    if "method" not in kwargs:  # which may run a part of the model
        thresholds = thresholds_of(variables)
        _check_reached("threshold", THRESHOLDS, thresholds, _taps(seen))
        _check_reached("pattern", PATTERNS, patterns_of(variables), seen)

    def traced(*args: Any, **kwargs: Any) -> Any:
        with _watched() as seen:
            _, updated = applied(*args, **kwargs)
        return _maps(updated[COLLECTION]), _shapes(seen)

    shapes = _shapes(seen)
    return output, unstacked(maps, shapes, traced, args, kwargs), updated


def _maps(sown: Mapping[str, Any]) -> OrderedDict[str, Array]:
    """Maps by path. Flax keeps the order of execution; jit would sort a plain dict."""
    flat: Any = flatten_dict(dict(sown), sep="/")
    return OrderedDict((name.removesuffix("/map"), x) for name, x in flat.items())


@contextmanager
def _watched() -> Iterator[dict[str, _Seen]]:
    """Records what every tap sees: in a scan, one layer."""
    seen: dict[str, _Seen] = {}

    def watch(
        next_call: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        context: nn.module.InterceptorContext,
    ) -> Any:
        module = context.module
        reads = isinstance(module, Tap) or getattr(module, "takes_patterns", False)
        if reads and context.method_name == "__call__":
            own = frozenset(name for name, held in module.variables.items() if held)
            found = _Seen(args[0].shape, own, isinstance(module, Tap))
            seen["/".join(module.path)] = found
        return next_call(*args, **kwargs)

    with nn.intercept_methods(watch):
        yield seen


def _taps(seen: Mapping[str, _Seen]) -> dict[str, _Seen]:
    return {name: found for name, found in seen.items() if found.is_tap}


def _shapes(seen: Mapping[str, _Seen]) -> dict[str, tuple[Any, ...]]:
    return {name: found.shape for name, found in _taps(seen).items()}


def _check_collected(maps: Mapping[str, Array], seen: Mapping[str, _Seen]) -> None:
    lost = sorted(_taps(seen).keys() - maps.keys())
    if lost:
        raise ValueError(
            f"the maps of {lost} were not collected: nn.scan and nn.vmap around a tap "
            "need variable_axes={'activations': 0} next to their other collections"
        )


def _check_reached(
    what: str, collection: str, names: Iterable[str], seen: Mapping[str, _Seen]
) -> None:
    """Refuses what is given to a path that there is not, or that does not read it."""
    for name in names:
        checks.one_of(f"the map of a {what}", name, sorted(seen))
        if collection not in seen[name].has:
            raise ValueError(
                f"the {what} of {name} does not reach it: nn.scan and nn.vmap around "
                f"it need variable_broadcast={collection!r}"
            )
