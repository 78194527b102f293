"""A penalty.

A penalty is a function of an array that sums over `axis`. Its options are keyword-only,
with defaults, and traced in training, so that a sweep over them compiles once.
`prox_NAME` in the same module is its proximal map, if it has one.

COMMAND
  python -m experiments.mnist_lenet5 --preset demo \\
    --activation.penalty my_penalty:huber --activation.options delta=0.2
"""

import jax.numpy as jnp

from dst_jax.typing import is_traced


def huber(x, *, axis=None, delta=0.1):
    """|x| far from 0, a parabola near it."""
    if not is_traced(delta) and not delta > 0:
        raise ValueError(f"delta must be > 0, got {delta}")
    size = jnp.abs(x)
    small = x**2 / (2 * delta)
    return jnp.where(size < delta, small, size - delta / 2).sum(axis)
