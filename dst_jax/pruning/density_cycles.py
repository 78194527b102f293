"""Sparsities that go up and down in cycles: EAST's."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dst_jax import checks

__all__ = ["Wave", "cyclic", "cyclic_end"]

Wave = Literal["cosine", "triangular"]
"""The form of a cycle."""


def cyclic(
    sparsity: ArrayLike,
    *,
    period: ArrayLike,
    cycles: ArrayLike = 2,
    growth: ArrayLike = 1.0,
    relaxation: ArrayLike = 3.0,
    wave: str = "cosine",
) -> optax.Schedule:
    """Sparsities that start at the target, relax in mid-cycle, and return to it.

        density = d (1 + (relaxation - 1) f(phase)),  d = 1 - sparsity
        f = (1 - cos(2 pi phase)) / 2,  or triangular: 1 - |2 phase - 1|

    Args:
      sparsity: target, in [0, 1).
      period: steps of the first cycle.
      cycles: number of cycles; the target holds afterwards.
      growth: length of each cycle over that of the one before, above 0.
      relaxation: largest density over the target's; no density passes 1.
      wave: form of the cycle, "cosine" or "triangular".

    Raises:
      ValueError: a value is out of range.

    Reference:
      EAST (TMLR submission 5122); formula and defaults as in its released code.

    >>> schedule = cyclic(0.9, period=4)
    >>> [round(float(schedule(t)), 3) for t in range(5)]
    [0.9, 0.8, 0.7, 0.8, 0.9]
    """
    checks.fraction("sparsity", sparsity)
    checks.at_least("relaxation", relaxation, 1)
    checks.one_of("wave", wave, get_args(Wave))
    _check(period, cycles, growth)

    def schedule(step: ArrayLike) -> Float[Array, ""]:
        step = _real(step)
        cycle, start, length = _cycle(step, period, cycles, growth)
        phase = (step - start) / length
        smooth = (1 - jnp.cos(2 * jnp.pi * phase)) / 2
        f = smooth if wave == "cosine" else 1 - jnp.abs(2 * phase - 1)
        f = jnp.where(cycle < cycles, f, 0)
        density = (1 - _real(sparsity)) * (1 + (_real(relaxation) - 1) * f)
        return jnp.where(f == 0, _real(sparsity), jnp.maximum(1 - density, 0))

    return schedule


def cyclic_end(
    period: ArrayLike, *, cycles: ArrayLike, growth: ArrayLike = 1.0
) -> Float[Array, ""]:
    """The step at which the last cycle of `cyclic` ends, which need not be whole.

    Args:
      period, cycles, growth: as for `cyclic`.

    Raises:
      ValueError: a value is out of range.

    >>> float(cyclic_end(4, cycles=2, growth=2.0))
    12.0
    """
    _check(period, cycles, growth)
    return _cycle(jnp.float32(jnp.inf), period, cycles, growth)[1]


def _check(period: ArrayLike, cycles: ArrayLike, growth: ArrayLike) -> None:
    checks.at_least("period", period, 1)
    checks.at_least("cycles", cycles, 1)
    if isinstance(cycles, float) and not cycles.is_integer():
        raise ValueError(f"cycles must be a whole number, got {cycles}")
    checks.positive("growth", growth)


def _cycle(
    step: Array, period: ArrayLike, cycles: ArrayLike, growth: ArrayLike
) -> tuple[Array, Array, Array]:
    """The number of the cycle that a step is in, its start and its length."""

    def over(state: tuple[Array, Array, Array]) -> Array:
        cycle, start, length = state
        return (step >= start + length) & (cycle < cycles)

    def following(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        cycle, start, length = state
        return cycle + 1, start + length, length * _real(growth)

    first = (jnp.int32(0), jnp.float32(0), _real(period))
    return jax.lax.while_loop(over, following, first)


def _real(x: ArrayLike) -> Float[Array, "..."]:
    return jnp.asarray(x, jnp.float32)
