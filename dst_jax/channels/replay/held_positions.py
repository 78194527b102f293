"""Which positions of a value an array on its way through a replay holds."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from dst_jax.channels.axis_units import AxisUnits, Block, Bools, Ints

__all__ = ["Held", "Small", "full", "held_of", "relaid", "taken"]

Held = tuple[Bools, ...]
"""For every axis of the original value, which of its positions the array holds."""


class Small(NamedTuple):
    """An array that holds the kept positions of a value, and the value's units."""

    array: Array
    units: AxisUnits


def held_of(units: AxisUnits, kept: Bools, components: Any) -> Held:
    """The positions that are kept along every axis.

    A joint block whose kept positions are no product of its axes is held whole, with
    zeros in place of what is removed.

    Args:
      units: units of the value.
      kept: by component, whether it is kept.
      components: numbers of the components, see `choices.Components`.

    >>> from dst_jax.channels.axis_units import Block, made
    >>> from dst_jax.channels.choices import Components
    >>> units = made([Block((0,), np.array([1, 2]), np.ones(2, bool))])
    >>> found = Components(np.arange(3), np.ones(3, bool))
    >>> held_of(units, np.array([True, False, True]), found)[0].tolist()
    [False, True]
    """
    masks: dict[int, Bools] = {}
    for block in units.blocks:
        found = components.of(block.units)
        held = np.where(found < 0, True, kept[found])
        masks |= dict(zip(block.axes, _factors(block, held), strict=True))
    return tuple(masks[axis] for axis in range(len(masks)))


def _factors(block: Block, held: Bools) -> list[Bools]:
    if held.ndim == 1:
        return [held]
    axes = range(held.ndim)
    factors = [
        np.asarray(held.any(axis=tuple(i for i in axes if i != axis))) for axis in axes
    ]
    product = np.ones((), bool)
    for factor in factors:
        product = product[..., None] & factor
    if np.array_equal(product, held):
        return factors
    return [np.ones(size, bool) for size in block.units.shape]


def full(shape: Sequence[int]) -> Held:
    """All positions.

    >>> full((2,))[0].tolist()
    [True, True]
    """
    return tuple(np.ones(size, bool) for size in shape)


def relaid(array: Array, have: Held, want: Held) -> Array:
    """An array that holds other positions: fewer, or more, which are 0.

    >>> array = jnp.array([1.0, 2.0])
    >>> have = (np.array([True, False, True]),)
    >>> relaid(array, have, full((3,))).tolist()
    [1.0, 0.0, 2.0]
    """
    for axis, (has, needs) in enumerate(zip(have, want, strict=True)):
        if np.array_equal(has, needs):
            continue
        number = np.where(has, np.cumsum(has) - 1, -1)
        array = taken(array, axis, number[needs])
    return array


def taken(array: Array, axis: int, at: Ints) -> Array:
    """Positions of an axis; zeros where `at` is -1.

    >>> taken(jnp.arange(3), 0, np.array([2, -1])).tolist()
    [2, 0]
    """
    if np.array_equal(at, np.arange(array.shape[axis])):
        return array
    inside = at[at >= 0]
    if inside.size == 0:
        shape = [*array.shape[:axis], len(at), *array.shape[axis + 1 :]]
        return jnp.zeros(shape, array.dtype)
    if inside.size == at.size:
        start, steps = at[0], np.diff(at)
        if (steps > 0).all() and (steps == steps[:1]).all():
            stride = int(steps[0]) if steps.size else 1
            end = int(at[-1]) + 1
            return lax.slice_in_dim(array, int(start), end, stride, axis)
        return jnp.take(array, at, axis, mode="clip")
    first = np.zeros_like(at)
    first[at >= 0] = inside
    mask = np.expand_dims(at >= 0, tuple(i for i in range(array.ndim) if i != axis))
    found = jnp.take(array, first, axis, mode="clip")
    return jnp.where(mask, found, jnp.zeros((), array.dtype))
