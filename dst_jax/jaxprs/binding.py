"""Equations bound again on other operands."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core
from jaxtyping import Array

__all__ = ["bind", "typed"]


def bind(eqn: core.JaxprEqn, arrays: Sequence[Any], **changed: Any) -> list[Array]:
    """The results of an equation, with some of its parameters changed.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: x.reshape(2, 2))(jnp.ones(4))
    >>> bind(program.eqns[0], [jnp.ones(2)], new_sizes=(1, 2))[0].shape
    (1, 2)
    """
    bound = eqn.primitive.get_bind_params(dict(eqn.params) | changed)
    # jax 0.10 also returns functions that are bound ahead of the operands.
    functions, params = bound if isinstance(bound, tuple) else ((), bound)
    with eqn.ctx.manager:
        out = eqn.primitive.bind(*functions, *arrays, **params)
    return list(out) if eqn.primitive.multiple_results else [out]


def typed(literal: Any) -> Array:
    """The array of a literal.

    >>> import jax
    >>> program = jax.make_jaxpr(lambda x: x + 1)(jnp.ones(4))
    >>> typed(program.eqns[0].invars[1]).dtype.name
    'float32'
    """
    return jnp.asarray(literal.val, literal.aval.dtype)
