"""Schedules of sparsity, or of the fraction to drop, over steps.

Each returns an Optax schedule, `step -> float32`. `step` counts optimizer steps: the
masks that a method sets right after the first step see 1. Hyper-parameters may be
traced. Every ramp is at its final value from `end` on, to the bit.
"""

from collections.abc import Callable
from typing import Literal, get_args

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from dst_jax import checks
from dst_jax.pruning.density_cycles import cyclic, cyclic_end

__all__ = [
    "Due",
    "constant",
    "cosine",
    "cubic",
    "cyclic",
    "cyclic_end",
    "decay",
    "every",
    "exponential",
    "linear",
    "one_shot",
]

Due = Callable[[ArrayLike], Bool[Array, ""]]
"""Whether masks change after a step, a function of its number."""
Decay = Literal["constant", "cosine", "linear"]


def constant(value: ArrayLike) -> optax.Schedule:
    """`value` at every step.

    Args:
      value: number; may be traced.

    >>> float(constant(0.5)(7))
    0.5
    """
    return lambda step: jnp.asarray(value, jnp.float32)


def one_shot(value: ArrayLike, *, at: ArrayLike) -> optax.Schedule:
    """0 before step `at`, then `value`.

    Args:
      value: number; may be traced.
      at: first step with that value.

    >>> [float(one_shot(0.5, at=10)(t)) for t in (9, 10)]
    [0.0, 0.5]
    """
    return lambda step: jnp.where(jnp.asarray(step) < at, 0, _real(value))


def linear(
    initial: ArrayLike, final: ArrayLike, *, end: ArrayLike, start: ArrayLike = 0
) -> optax.Schedule:
    """From `initial` at `start` to `final` at `end` in equal steps.

    Args:
      initial, final: values at the ends of the ramp.
      end, start: last and first step of the ramp.

    >>> [float(linear(0.5, 0.0, end=10)(t)) for t in (0, 5, 10, 11)]
    [0.5, 0.25, 0.0, 0.0]
    """
    return _ramp(initial, final, start, end, lambda p: 1 - p)


def cosine(
    initial: ArrayLike, final: ArrayLike, *, end: ArrayLike, start: ArrayLike = 0
) -> optax.Schedule:
    """Half a cosine from `initial` at `start` to `final` at `end`.

        final + (initial - final) (1 + cos(pi p)) / 2,  p = (t - start) / (end - start)

    RigL's drop fraction `alpha/2 (1 + cos(pi t / T_end))` is `cosine(alpha, 0, end=)`.

    Args:
      initial, final, end, start: as for `linear`.

    Reference:
      Evci et al. 2020 (RigL, arXiv 1911.11134).

    >>> [round(float(cosine(0.5, 0.005, end=4)(t)), 5) for t in range(5)]
    [0.5, 0.42751, 0.2525, 0.07749, 0.005]
    """
    return _ramp(initial, final, start, end, optax.cosine_decay_schedule(1.0, 1))


def cubic(
    initial: ArrayLike, final: ArrayLike, *, end: ArrayLike, start: ArrayLike = 0
) -> optax.Schedule:
    """A cubic from `initial` to `final`, fast at first: gradual magnitude pruning's.

        final + (initial - final) (1 - p)^3,  p = (t - start) / (end - start)

    Args:
      initial, final, end, start: as for `linear`.

    Reference:
      Zhu & Gupta 2017 (arXiv 1710.01878), equation 1.

    >>> [round(float(cubic(0.0, 0.5, end=4)(t)), 5) for t in range(5)]
    [0.0, 0.28906, 0.4375, 0.49219, 0.5]
    """
    return _ramp(initial, final, start, end, lambda p: (1 - p) ** 3)


def exponential(
    initial: ArrayLike, final: ArrayLike, *, end: ArrayLike, start: ArrayLike = 0
) -> optax.Schedule:
    """Sparsities under which the density shrinks by the same factor in every step.

        1 - (1 - initial)^(1 - p) (1 - final)^p,  p = (t - start) / (end - start)

    Args:
      initial, final: sparsities in [0, 1).
      end, start: last and first step of the ramp.

    Reference:
      Tanaka et al. 2020 (SynFlow, arXiv 2006.05467): d^(k/n).

    >>> [round(float(exponential(0.0, 0.99, end=2)(t)), 3) for t in range(3)]
    [0.0, 0.9, 0.99]
    """
    checks.fraction("initial", initial)
    checks.fraction("final", final)
    checks.at_least("end", end, start)

    def schedule(step: ArrayLike) -> Float[Array, ""]:
        p = _progress(step, start, end)
        density = (1 - _real(initial)) ** (1 - p) * (1 - _real(final)) ** p
        return jnp.where(p >= 1, _real(final), 1 - density)

    return schedule


def decay(
    name: str, initial: ArrayLike, final: ArrayLike = 0.0, *, end: ArrayLike
) -> optax.Schedule:
    """A drop fraction that decays from step 0 to `end`.

    Args:
      name: "constant", "cosine" or "linear".
      initial, final: fractions at step 0 and at `end`, in [0, 1].
      end: last step of the decay.

    Raises:
      ValueError: an unknown name, or a fraction outside [0, 1].

    >>> float(decay("linear", 0.5, end=10)(5))
    0.25
    """
    checks.one_of("decay", name, get_args(Decay))
    checks.share("drop_fraction", initial)
    checks.share("final_fraction", final)
    if name == "constant":
        return constant(initial)
    ramp = cosine if name == "cosine" else linear
    return ramp(initial, final, end=end)


def every(
    interval: ArrayLike,
    *,
    start: ArrayLike = 0,
    end: ArrayLike | None = None,
    at_end: bool = False,
) -> Due:
    """A function of the step that says when masks are updated.

    At `start`, `start + interval`, ... before `end`; with `at_end` also at `end`
    itself, whether or not it is a multiple of the interval.

    Args:
      interval: steps between updates, at least 1.
      start: first step at which there may be an update.
      end: first step that is too late; None = updates never stop.
      at_end: whether the last update comes at `end`.

    Raises:
      ValueError: a value is out of range.

    >>> due = every(4, end=10, at_end=True)
    >>> [t for t in range(1, 12) if due(t)]
    [4, 8, 10]
    """
    checks.at_least("interval", interval, 1)
    checks.at_least("start", start, 0)
    if end is not None:
        checks.at_least("end", end, start)

    def due(step: ArrayLike) -> Bool[Array, ""]:
        step = jnp.asarray(step)
        regular = (step >= start) & ((step - start) % interval == 0)
        if end is None:
            return regular
        return (regular & (step < end)) | (at_end & (step == end))

    return due


def _ramp(
    initial: ArrayLike,
    final: ArrayLike,
    start: ArrayLike,
    end: ArrayLike,
    remaining: Callable[[Array], ArrayLike],
) -> optax.Schedule:
    checks.at_least("start", start, 0)
    checks.at_least("end", end, start)

    def schedule(step: ArrayLike) -> Float[Array, ""]:
        p = _progress(step, start, end)
        left = jnp.where(p >= 1, 0, remaining(p))
        return _real(final) + (_real(initial) - _real(final)) * left

    return schedule


def _progress(step: ArrayLike, start: ArrayLike, end: ArrayLike) -> Array:
    """0 up to `start`, 1 from `end` on; a step at `start == end` is 1."""
    step, start, end = jnp.asarray(step), jnp.asarray(start), jnp.asarray(end)
    length = jnp.maximum(end - start, 1)
    p = _real(jnp.clip(step - start, 0, length)) / _real(length)
    return jnp.where(step >= end, 1.0, p)


def _real(x: ArrayLike) -> Float[Array, "..."]:
    return jnp.asarray(x, jnp.float32)
