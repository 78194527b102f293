"""Fresh units for the leaves of the weights of a traced function."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from dst_jax.channels.axis_units import (
    FIXED,
    AxisUnits,
    Block,
    Ints,
    fixed_block,
    made,
    new,
)
from dst_jax.jaxprs.traced_function import TracedFunction

__all__ = ["LeafUnits", "leaf_units"]


class LeafUnits(NamedTuple):
    """Units of the inputs of a program.

    Attributes:
      inputs: units of every input; those that are no weights are fixed.
      axes: by path and axis, the units of the axes of leaves that are longer than 1.
      size: one more than the largest unit.
    """

    inputs: list[AxisUnits]
    axes: Mapping[tuple[str, int], Ints]
    size: int


def leaf_units(traced: TracedFunction) -> LeafUnits:
    """Fresh units on every axis longer than 1 of every leaf of the weights.

    >>> from dst_jax.jaxprs.traced_function import traced
    >>> function = traced(lambda w: 2 * w, (np.ones((1, 3)),), {}, [0])
    >>> leaf_units(function).axes
    {('', 1): array([1, 2, 3])}
    """
    inputs: list[AxisUnits] = []
    axes: dict[tuple[str, int], Ints] = {}
    following = 1
    for number, var in enumerate(traced.program.jaxpr.invars):
        shape = getattr(var.aval, "shape", ())
        path = traced.paths.get(number)
        if path is None:
            inputs.append(replace(new(shape, FIXED), carriers=0))
            continue
        blocks: list[Block] = []
        for axis, size in enumerate(shape):
            if size == 1:
                blocks.append(fixed_block(axis, 1, zero=True))
                continue
            units = np.arange(following, following + size, dtype=np.int64)
            following += size
            axes[path, axis] = units
            blocks.append(Block((axis,), units, np.ones(size, bool)))
        inputs.append(made(blocks, leaf=number))
    return LeafUnits(inputs, axes, following)
