"""Results of operations on values of which nothing is held."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

from dst_jax.channels.replay.held_positions import Held

__all__ = ["is_zero", "zeros"]

SUMS = ("conv_general_dilated", "dot_general", "reduce_sum")


def is_zero(name: str, have: Sequence[Held], want: Sequence[Held]) -> bool:
    """Whether results hold nothing, or nothing but sums over what holds nothing.

    Args:
      name: name of the primitive.
      have: positions that are held of the operands.
      want: positions that are held of the results.

    >>> import numpy as np
    >>> nothing, both = np.zeros(2, bool), np.ones(2, bool)
    >>> is_zero("dot_general", [(both, nothing)], [(both,)])
    True
    """
    if all(map(_is_empty, want)):
        return True
    return name in SUMS and any(map(_is_empty, have))


def zeros(eqn: core.JaxprEqn, want: Sequence[Held]) -> list[Array]:
    """Zeros for the positions of an equation's results that are held.

    >>> import jax
    >>> import numpy as np
    >>> program = jax.make_jaxpr(lambda x: x + 1)(jnp.ones(2))
    >>> zeros(program.eqns[0], [(np.array([True, False]),)])[0].tolist()
    [0.0]
    """
    avals: list[Any] = [var.aval for var in eqn.outvars]
    pairs = zip(want, avals, strict=True)
    return [
        jnp.zeros([int(mask.sum()) for mask in has], aval.dtype) for has, aval in pairs
    ]


def _is_empty(has: Held) -> bool:
    return any(mask.size and not mask.any() for mask in has)
