"""Schedules along half-periods of a sine, for strengths and thresholds."""

from collections.abc import Sequence
from itertools import pairwise

import jax.numpy as jnp
import optax

from dst_jax.typing import Schedule

__all__ = ["relu_to_fat_relu", "sine_stages"]


def sine_stages(values: Sequence[float], boundaries: Sequence[int]) -> Schedule:
    """A schedule that rises from value to value along half-periods of a sine.

    It is `values[0]` up to step `boundaries[0]`, the end of the warm-up. Between
    `boundaries[i - 1]` and `boundaries[i]` it goes from `values[i - 1]` to `values[i]`
    with slope 0 at both ends. After the last boundary it is constant.

        value = v0 + (v1 - v0) (1 + sin(pi (u - 1/2))) / 2,  u = (step - b0) / (b1 - b0)

    Args:
      values: strengths, one for the warm-up and one for every stage after it.
      boundaries: last steps of the warm-up and of every stage, increasing.

    Returns:
      `step -> value`, a float32 scalar.

    Raises:
      ValueError: not as many values as boundaries, or boundaries that do not increase.

    Reference:
      ProSparse (arXiv 2402.13516): constant in the warm-up, then along a sine in every
      stage. The paper's formula was not available; this one has slope 0 at both ends.

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

    first = optax.constant_schedule(values[0])
    stages = [
        _half_period(start, end, steps=b - a)
        for (start, end), (a, b) in zip(
            pairwise(values), pairwise(boundaries), strict=True
        )
    ]
    joined = optax.join_schedules([first, *stages], boundaries[:-1])
    return lambda count: jnp.asarray(joined(count), jnp.float32)


def _half_period(start: float, end: float, *, steps: int) -> Schedule:
    falling = optax.cosine_decay_schedule(start - end, steps)
    return lambda count: end + falling(count)


def relu_to_fat_relu(threshold: float, *, begin: int, steps: int) -> Schedule:
    """A schedule of a FATReLU's threshold: 0 up to step `begin`, then along a sine.

    Args:
      threshold: final threshold, >= 0.
      begin: last step of the plain ReLU, >= 0.
      steps: length of the rise, >= 0; 0 is a jump, as in ProSparse.

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
