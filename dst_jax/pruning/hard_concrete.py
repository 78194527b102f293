"""Hard concrete gates: random numbers in [0, 1] that are often exactly 0 or 1.

    z = clip(1.2 sigmoid((logit u + log_alpha) / (2/3)) - 0.1, 0, 1),  u uniform

Reference:
  Louizos et al. 2018 (arXiv 1712.01312); constants as in Gallego-Posada et al. 2022
  (arXiv 2208.04425).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["BOUND", "LEAST", "active_probability", "gate", "slope"]

_LOW, _HIGH, _TEMPERATURE = -0.1, 1.1, 2 / 3
_SHIFT = -_TEMPERATURE * math.log(-_LOW / _HIGH)
BOUND = math.log(100.0)
"""`log_alpha` is clipped to [-BOUND, BOUND]."""
LEAST = 1 / (1 + math.exp(BOUND - _SHIFT))
"""The least probability of being active that this leaves to a gate: 0.047."""


def gate(
    log_alpha: Float[Array, "*shape"], u: Float[Array, "*shape"] | float = 0.5
) -> Float[Array, "*shape"]:
    """The gates for uniform `u`; their medians by default.

    Args:
      log_alpha: parameters of the gates.
      u: numbers in (0, 1), shaped like `log_alpha`.

    >>> [round(float(gate(jnp.float32(0.0), u)), 4) for u in (0.1, 0.5, 0.99)]
    [0.0, 0.5, 1.0]
    """
    noise = jax.scipy.special.logit(jnp.asarray(u, jnp.float32))
    soft = jax.nn.sigmoid((noise + log_alpha) / _TEMPERATURE)
    return jnp.clip(soft * (_HIGH - _LOW) + _LOW, 0, 1)


def slope(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The derivatives of gates in their `log_alpha`; 0 where a gate is 0 or 1.

    Args:
      z: gates, in [0, 1].

    >>> round(float(slope(jnp.float32(0.5))), 4)
    0.45
    """
    soft = (z - _LOW) / (_HIGH - _LOW)
    inside = (z > 0) & (z < 1)
    return jnp.where(inside, (_HIGH - _LOW) * soft * (1 - soft) / _TEMPERATURE, 0)


def active_probability(log_alpha: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The probability that a gate is not 0: `sigmoid(log_alpha - 2/3 log(0.1/1.1))`.

    Args:
      log_alpha: parameters of the gates.

    >>> round(float(active_probability(jnp.float32(0.0))), 4)
    0.8318
    """
    return jax.nn.sigmoid(log_alpha + _SHIFT)
