"""Multiplications and parameters as differentiable functions of gates."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dst_jax import checks
from dst_jax.channels.groups import Groups
from dst_jax.channels.kept_positions import Keep
from dst_jax.channels.labelling import Labelling
from dst_jax.channels.leaf_units import leaf_units
from dst_jax.jaxprs.dataflow import followed
from dst_jax.jaxprs.traced_function import TracedFunction, is_array, traced
from dst_jax.jaxprs.tracing import argument_positions
from dst_jax.jaxprs.weight_labels import shape_of

__all__ = ["Relaxed", "relaxed"]


class _Factor(NamedTuple):
    """A number of things: a product over axes of how many positions are kept.

    Attributes:
      whole: the number if all are kept.
      axes: for each axis that may shrink, the gate of every position, -1 if none.
    """

    whole: int
    axes: tuple[np.ndarray, ...]


class _Costs(NamedTuple):
    multiplications: list[_Factor]
    parameters: list[_Factor]


@dataclass(frozen=True)
class Relaxed:
    """What `relaxed` returns."""

    fn: Callable[..., Any]
    groups: Groups
    weights: tuple[int, ...]
    _traced: dict[Any, _Costs] = field(default_factory=dict, repr=False, compare=False)

    def __call__(
        self, gates: Mapping[str, ArrayLike], *args: Any, **kwargs: Any
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Multiplications and parameters at these gates, float32."""
        costs, vector = self._costs(args, kwargs), self._vector(gates)
        multiplications = sum(_mean(f, vector) for f in costs.multiplications)
        parameters = sum(_mean(f, vector) for f in costs.parameters)
        return jnp.asarray(multiplications, jnp.float32), jnp.asarray(parameters)

    def exact(self, keep: Keep, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """Multiplications and parameters of what is kept, Python integers.

        >>> fn = lambda w, x: x @ w["a"] @ w["b"]
        >>> w, x = {"a": jnp.ones((4, 8)), "b": jnp.ones((8, 2))}, jnp.ones((1, 4))
        >>> from dst_jax import channels
        >>> cost = relaxed(fn, channels.groups(fn)(w, x))
        >>> cost.exact({"a": np.arange(8) < 3}, w, x)
        (18, 18)
        """
        costs = self._costs(args, kwargs)
        vector = np.asarray(self._vector({k: np.asarray(v) for k, v in keep.items()}))
        kept = vector.astype(bool)
        multiplications = sum(_kept(f, kept) for f in costs.multiplications)
        return multiplications, sum(_kept(f, kept) for f in costs.parameters)

    def _vector(self, gates: Mapping[str, ArrayLike]) -> Float[Array, " gates"]:
        """The gates of all groups one after another; 1 where none is given."""
        for name in gates:
            checks.one_of("group", name, self.groups)
        parts = []
        for name, group in self.groups.items():
            own = jnp.asarray(gates.get(name, np.ones(group.size)), jnp.float32)
            if own.shape != (group.size,):
                raise ValueError(
                    f"gates[{name!r}] must have shape ({group.size},), got {own.shape}"
                )
            parts.append(own)
        return jnp.concatenate([*parts, jnp.ones(1)])

    def _costs(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Costs:
        """The costs for arguments of these shapes, traced once."""
        leaves, structure = jax.tree.flatten((args, dict(kwargs)))
        kinds = [
            (np.shape(leaf), str(jnp.result_type(leaf))) if is_array(leaf) else leaf
            for leaf in leaves
        ]
        key = (structure, tuple(kinds))
        if key not in self._traced:
            self._traced[key] = self._found(args, kwargs)
        return self._traced[key]

    def _found(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Costs:
        function = traced(self.fn, args, kwargs, self.weights)
        start = leaf_units(function)
        labelling = Labelling(first=start.size, split=self.groups.split)
        followed(function.program, start.inputs, labelling)
        components = labelling.relations.components()
        gate = np.full(len(components.used), -1)
        offset = 0
        for group in self.groups.values():
            for path, axis, units in group.members:
                own = components.of(start.axes[path, axis])
                gate[own[units >= 0]] = offset + units[units >= 0]
            offset += group.size

        def factor(whole: int, axes: Sequence[np.ndarray]) -> _Factor:
            found = [components.of(units) for units in axes]
            gates = [np.where(own >= 0, gate[own], -1) for own in found]
            return _Factor(whole, tuple(g for g in gates if (g >= 0).any()))

        products: list[_Factor] = []
        for product in labelling.products:
            if product.times is None:
                raise ValueError(
                    f"how often the product in {product.path!r} is executed depends on"
                    " data: it has no relaxed count"
                )
            products.append(factor(product.dense * product.times, product.axes))
        return _Costs(products, _parameters(function, start.axes, factor))


def relaxed(
    fn: Callable[..., Any], groups: Groups, *, weights: int | tuple[int, ...] = 0
) -> Relaxed:
    """The multiplications and parameters of `fn` as functions of one gate per unit.

    The multiplications of a product are those of the whole one times, for each of its
    axes (batch or feature group, contracted, free), the mean gate over the positions.
    At gates of 0 and 1 they are the `dense` count after removal.

    Args:
      fn: the function whose `groups` these are.
      groups: from `channels.groups`.
      weights: positions of the arguments that hold the weights.

    Returns:
      A function `(gates, *args) -> (multiplications, parameters)` of `{group:
      float[size]}` and of arguments with the original shapes, float32, that can be
      differentiated and jitted; a group that `gates` lacks is whole. Parameters are
      those under `params`, or all if there is no such collection. Its method
      `exact(keep, *args)` returns Python integers.

    Raises:
      ValueError: at the call, a group is unknown, gates have another length, or how
        often a product is executed depends on data.

    Reference:
      Larson et al. 2023, architecture weights as a relaxed count, from the author's
      code; here from the trace of any function.

    >>> from dst_jax import channels
    >>> fn = lambda w, x: x @ w["a"] @ w["b"]
    >>> w, x = {"a": jnp.ones((4, 8)), "b": jnp.ones((8, 2))}, jnp.ones((1, 4))
    >>> cost = relaxed(fn, channels.groups(fn)(w, x))
    >>> [float(number) for number in cost({"a": jnp.full(8, 0.5)}, w, x)]
    [24.0, 24.0]
    """
    return Relaxed(fn, groups, argument_positions(weights))


def _parameters(
    function: TracedFunction,
    axes: Mapping[tuple[str, int], np.ndarray],
    factor: Callable[[int, Sequence[np.ndarray]], _Factor],
) -> list[_Factor]:
    invars = function.program.jaxpr.invars
    shapes = {path: shape_of(invars[i]) for i, path in function.paths.items()}
    trained = {path for path in shapes if "params" in path.split("/")[:2]} or set(
        shapes
    )
    return [
        factor(
            math.prod(shape),
            [axes[path, i] for i in range(len(shape)) if (path, i) in axes],
        )
        for path, shape in shapes.items()
        if path in trained
    ]


def _mean(factor: _Factor, gates: Float[Array, " gates"]) -> Any:
    found: Any = factor.whole
    for axis in factor.axes:
        found = found * gates[axis].mean()  # -1 is the last entry, 1
    return found


def _kept(factor: _Factor, kept: np.ndarray) -> int:
    found = factor.whole
    for axis in factor.axes:
        found = found // axis.size * int(kept[axis].sum())
    return found
