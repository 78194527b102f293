"""What a method learns beside the weights: thresholds, gates, coefficients."""

from typing import Any, NamedTuple

import optax

__all__ = ["Learned", "descend", "learned"]


class Learned(NamedTuple):
    """Parameters of a method's own and the state of their optimizer."""

    value: Any
    state: optax.OptState


def learned(optimizer: optax.GradientTransformation, value: Any) -> Learned:
    """Parameters before the first step.

    >>> import jax.numpy as jnp
    >>> learned(optax.sgd(0.1), jnp.float32(1.0)).value.item()
    1.0
    """
    return Learned(value, optimizer.init(value))


def descend(
    optimizer: optax.GradientTransformation, now: Learned, grads: Any
) -> Learned:
    """Parameters after a step.

    >>> import jax.numpy as jnp
    >>> tx = optax.sgd(0.1)
    >>> descend(tx, learned(tx, jnp.float32(1.0)), jnp.float32(5.0)).value.item()
    0.5
    """
    updates, state = optimizer.update(grads, now.state, now.value)
    return Learned(optax.apply_updates(now.value, updates), state)
