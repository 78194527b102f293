"""Times the products of a network and of a smaller one, each alone."""

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
from jax.extend import core

from benchmarks.timing import interleaved
from dst_jax import cost
from dst_jax.channels.replay.operations import bind
from dst_jax.jaxprs.calls import bodies
from dst_jax.jaxprs.weight_labels import shape_of
from dst_jax.models.networks.depthwise import depthwise_conv
from dst_jax.models.networks.pointwise import pointwise_conv

__all__ = ["LayerTime", "layer_times"]


@dataclass(frozen=True)
class LayerTime:
    """Seconds of a layer with its gradients, in the whole network and the smaller one.

    Attributes:
      name: path of the layer.
      whole: seconds in the whole network.
      smaller: seconds in the smaller one.
      ratio: how many times fewer multiplications the smaller one has.
    """

    name: str
    whole: float
    smaller: float
    ratio: float

    @property
    def excess(self) -> float:
        """Seconds beyond the share that its multiplications have of the whole's."""
        return self.smaller - self.whole / self.ratio


def layer_times(
    whole: Callable[..., Any],
    smaller: Callable[..., Any],
    variables: Any,
    small: Any,
    x: jax.Array,
    *,
    rounds: int,
    clock: Callable[[], float],
) -> list[LayerTime]:
    """The layers in order of execution.

    Args:
      whole: function of `variables` and `x`.
      smaller: function of `small` and `x` with the same operations.
      variables: variables of the whole network.
      small: variables of the smaller one.
      x: images.
      rounds: number of times that each layer is timed.
      clock: function that returns seconds.
    """
    names = list(jax.eval_shape(cost.count(whole), variables, x))
    layers = zip(
        names,
        _products(jax.make_jaxpr(whole)(variables, x).jaxpr),
        _products(jax.make_jaxpr(smaller)(small, x).jaxpr),
        strict=True,
    )
    known: dict[str, float] = {}  # layers of equal shapes are timed once
    found = []
    for name, *pair in layers:
        first = name == names[0]  # images need no gradient
        keys = [str((first, *_shapes(eqn), eqn.params)) for eqn in pair]
        new = dict(zip(keys, pair, strict=True))
        calls = {k: _with_gradients(e, first) for k, e in new.items() if k not in known}
        seconds = interleaved(calls, rounds=rounds, clock=clock)
        known |= {key: statistics.median(times) for key, times in seconds.items()}
        before, after = (known[key] for key in keys)
        ratio = _multiplications(pair[0]) / _multiplications(pair[1])
        found.append(LayerTime(name, before, after, ratio))
    return found


def _products(jaxpr: core.Jaxpr) -> Iterator[core.JaxprEqn]:
    """The convolutions and matrix products, in order of execution."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("conv_general_dilated", "dot_general"):
            yield eqn
        for body in bodies(eqn):
            yield from _products(body)


def _shapes(eqn: core.JaxprEqn) -> list[tuple[int, ...]]:
    return [shape_of(atom) for atom in (*eqn.invars, *eqn.outvars)]


def _multiplications(eqn: core.JaxprEqn) -> int:
    """The outputs times the contracted elements of each."""
    _, kernel, out = _shapes(eqn)
    if eqn.primitive.name == "dot_general":
        (_, contracted), _ = eqn.params["dimension_numbers"]
        return math.prod(out) * math.prod(kernel[axis] for axis in contracted)
    outputs = eqn.params["dimension_numbers"].rhs_spec[0]
    return math.prod(out) * math.prod(kernel) // kernel[outputs]


def _with_gradients(eqn: core.JaxprEqn, first: bool) -> Callable[[], object]:
    """A call of a layer with the gradients of its kernel and, unless first, its map."""
    x, kernel, y = (
        jax.random.normal(jax.random.key(i), shape)
        for i, shape in enumerate(_shapes(eqn))
    )

    def product(kernel: jax.Array, x: jax.Array) -> jax.Array:
        if eqn.primitive.name == "dot_general":
            return bind(eqn, [x, kernel])[0]
        options = dict(eqn.params)
        place = [options.pop(name) for name in ("window_strides", "padding")]
        grouped = options["feature_group_count"] > 1
        rule = depthwise_conv if grouped else pointwise_conv
        return rule(x, kernel, *place, **options)

    @jax.jit
    def call(kernel: jax.Array, x: jax.Array, y: jax.Array) -> Any:
        part = partial(product, x=x) if first else product
        out, pull = jax.vjp(part, *([kernel] if first else [kernel, x]))
        return out, pull(y)

    return lambda: call(kernel, x, y)
