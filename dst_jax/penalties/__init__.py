"""Penalties `R(x) -> scalar` on activation maps and weights, and their prox."""

from dst_jax.penalties.hoyer import hoyer_square
from dst_jax.penalties.l1 import l1, prox_l1
from dst_jax.penalties.total import total
from dst_jax.penalties.transformed_l1 import prox_transformed_l1, transformed_l1

__all__ = [
    "hoyer_square",
    "l1",
    "prox_l1",
    "prox_transformed_l1",
    "total",
    "transformed_l1",
]
