"""Schedules in the shape of a half-period of a sine: strengths and thresholds."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.typing import Schedule

__all__ = ["relu_to_fat_relu", "sine_stages"]


def sine_stages(values: Sequence[float], boundaries: Sequence[int]) -> Schedule:
    """A schedule that rises from value to value along half-periods of a sine.

    Constant at `values[0]` up to step `boundaries[0]`, which is the warm-up; between
    `boundaries[i - 1]` and `boundaries[i]` it goes from `values[i - 1]` to `values[i]`
    with slope 0 at both ends; constant after the last boundary.

        value = v0 + (v1 - v0) (1 + sin(pi (u - 1/2))) / 2,  u = (step - b0) / (b1 - b0)

    Args:
      values: strengths, one for the warm-up and one for every stage after it.
      boundaries: the last step of each of them, increasing.

    Returns:
      `step -> value`, a float32 scalar.

    Raises:
      ValueError: not as many values as boundaries, or boundaries that do not increase.

    Reference:
      ProSparse (arXiv 2402.13516): constant in the warm-up, then along a sine in every
      stage. Its formula was not at hand; this is the smooth one of that description.

    >>> strength = sine_stages([1.0, 3.0], [10, 20])
    >>> [round(float(strength(step)), 3) for step in (0, 10, 15, 20, 99)]
    [1.0, 1.0, 2.0, 3.0, 3.0]
    """
    if len(values) != len(boundaries) or not values:
        raise ValueError(
            f"values and boundaries must be equally many, at least one, got {values} "
            f"and {boundaries}"
        )
    if any(b <= a for a, b in pairwise(boundaries)):
        raise ValueError(f"boundaries must increase, got {boundaries}")

    def schedule(count: jax.typing.ArrayLike) -> Float[Array, ""]:
        value = jnp.float32(values[0])
        for i in range(1, len(values)):
            length = boundaries[i] - boundaries[i - 1]
            done = jnp.clip((jnp.asarray(count) - boundaries[i - 1]) / length, 0, 1)
            rise = (1 + jnp.sin(jnp.pi * (done - 0.5))) / 2
            value += (values[i] - values[i - 1]) * rise
        return value

    return schedule


def relu_to_fat_relu(threshold: float, *, begin: int, steps: int) -> Schedule:
    """A FATReLU's threshold: 0 up to step `begin`, then up along a sine.

    Args:
      threshold: the final threshold, >= 0.
      begin: the last step of the plain ReLU, >= 0.
      steps: how long the threshold rises, >= 0; 0 is a jump, as in ProSparse.

    Returns:
      `step -> threshold`, a float32 scalar for `fat_relu`.

    Raises:
      ValueError: an argument is negative.

    Reference:
      ProSparse (arXiv 2402.13516), whose released models have threshold 0.01.

    >>> t = relu_to_fat_relu(0.01, begin=100, steps=0)
    >>> round(float(t(100)), 4), round(float(t(101)), 4)
    (0.0, 0.01)
    """
    for name, value in (("threshold", threshold), ("begin", begin), ("steps", steps)):
        if value < 0:
            raise ValueError(f"{name} must be >= 0, got {value}")
    return sine_stages([0.0, threshold], [begin, begin + max(steps, 1)])
