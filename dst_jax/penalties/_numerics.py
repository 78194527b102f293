"""What every penalty needs: float32 accumulation, an even `abs`, checked options."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.typing import is_traced


def upcast(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in float32 at least: half precision loses small terms of a long sum."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def magnitude(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`|x|` whose gradient at 0 is 0, where `jnp.abs` has 1."""
    return x * jnp.sign(x)


def check_positive(name: str, value: Any) -> None:
    """Refuses `value <= 0`; a traced value, unknown here, passes."""
    if not is_traced(value) and not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number > 0, got {value}")


def check_non_negative(name: str, value: Any) -> None:
    """Refuses `value < 0`; a traced value, unknown here, passes."""
    if not is_traced(value) and not (math.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a finite number >= 0, got {value}")
