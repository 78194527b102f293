"""Parameters that a method learns next to the weights: thresholds, gates, ..."""

from typing import Any, NamedTuple

import optax

__all__ = ["Learned", "descend", "learned"]


class Learned(NamedTuple):
    """Parameters of a method's own, and the state of their optimizer."""

    value: Any
    state: optax.OptState


def learned(optimizer: optax.GradientTransformation, value: Any) -> Learned:
    """The parameters before the first step.

    Args:
      optimizer: optimizer of the parameters.
      value: pytree of initial parameters.

    >>> import jax.numpy as jnp
    >>> learned(optax.sgd(0.1), jnp.float32(1.0)).value.item()
    1.0
    """
    return Learned(value, optimizer.init(value))


def descend(
    optimizer: optax.GradientTransformation, now: Learned, grads: Any
) -> Learned:
    """The parameters after one step.

    Args:
      optimizer: optimizer of the parameters.
      now: parameters before the step.
      grads: gradients, shaped like the parameters.

    >>> import jax.numpy as jnp
    >>> tx = optax.sgd(0.1)
    >>> descend(tx, learned(tx, jnp.float32(1.0)), jnp.float32(5.0)).value.item()
    0.5
    """
    updates, state = optimizer.update(grads, now.state, now.value)
    return Learned(optax.apply_updates(now.value, updates), state)
