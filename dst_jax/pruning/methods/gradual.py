"""Gradual pruning: from a dense network to the target along a schedule."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax

from dst_jax import checks
from dst_jax.pruning import schedules, scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step
from dst_jax.pruning.schedules import Due, constant, every
from dst_jax.pruning.structures import Structure
from dst_jax.pruning.updates import (
    Importance,
    dense_mask,
    importance,
    keep,
    prune,
)
from dst_jax.typing import Mask, Params

__all__ = ["gradual_magnitude", "gradual_movement", "one_shot"]

Curve = Literal["cubic", "exponential", "cosine", "linear"]
_CURVES = {
    "cubic": schedules.cubic,
    "exponential": schedules.exponential,
    "cosine": schedules.cosine,
    "linear": schedules.linear,
}


@method(lengths={"end": 0.75, "interval": 0.02}, ends=["start", "end"])
def gradual_magnitude(
    *,
    sparsity: Any,
    end: Any,
    start: Any = 0,
    interval: Any = 1000,
    initial_sparsity: Any = 0.0,
    curve: Curve = "cubic",
    distribution: str | Distribution = "uniform",
    structure: Structure | None = None,
    score: str | Importance = "magnitude",
) -> Method:
    """Gradual magnitude pruning: prunes the smallest weights along a schedule.

        s(t) = s_f + (s_i - s_f) (1 - (t - start) / (end - start))^3

    at `start`, `start + interval`, ..., and at `end`, when the target is met. Pruned
    weights never come back.

    Args:
      sparsity: target sparsity `s_f`, in [0, 1).
      end: step of the last update.
      start: step at which pruning starts, at most `end`.
      interval: steps between mask updates.
      initial_sparsity: sparsity `s_i` from `init` on, in [0, sparsity].
      curve: curve of the sparsity, "cubic", "exponential", "cosine" or "linear".
      distribution: distribution between layers; the authors' is "uniform".
      structure: units of weights that are pruned together; None = single weights.
      score: score by name ("magnitude", "snip", "taylor", "random"), as
        `module:attribute`, or a function of `Step`.

    Reference:
      Zhu & Gupta 2017 (arXiv 1710.01878).

    >>> import optax
    >>> tx = gradual_magnitude(optax.adam(1e-3), sparsity=0.9, end=50_000)
    """
    target = _curve(curve, initial_sparsity, sparsity, start, end)
    due = every(interval, start=start, end=end, at_end=True)
    return _gradual(
        target,
        due,
        initial_sparsity,
        distribution,
        structure,
        importance("score", score),
    )


@method(lengths={"end": 0.75, "interval": 0.02}, ends=["start", "end"])
def gradual_movement(
    *,
    sparsity: Any,
    end: Any,
    start: Any = 0,
    interval: Any = 1000,
    curve: Curve = "cubic",
    distribution: str | Distribution = "global",
    structure: Structure | None = None,
) -> Method:
    """Gradual movement pruning: prunes the weights that move towards 0.

        score = -sum of w * g over all steps so far

    For fine-tuning. Pruned weights never come back here; with the paper's
    straight-through scores they may.

    Args:
      sparsity, end, start, interval, curve, structure: options of `gradual_magnitude`.
      distribution: distribution of the weights between layers.

    Reference:
      Sanh et al. 2020 (arXiv 2005.07683).

    >>> import optax
    >>> tx = gradual_movement(optax.adam(1e-5), sparsity=0.85, end=10_000)
    """
    target = _curve(curve, 0.0, sparsity, start, end)
    due = every(interval, start=start, end=end, at_end=True)

    def score(step: Step) -> Params:
        return scores.movement(step.params, accumulated=step.memory)

    def zeros(params: Params, mask: Mask) -> Params:
        del mask
        return jax.tree.map(lambda w: jnp.zeros(w.shape, jnp.float32), params)

    def observe(step: Step) -> Params:
        return jax.tree.map(
            lambda a, w, g: a + w.astype(jnp.float32) * g.astype(jnp.float32),
            step.memory,
            step.params,
            step.grads,
        )

    plain = _gradual(target, due, 0.0, distribution, structure, score)
    return dataclasses.replace(plain, memory=zeros, observe=observe)


@method(lengths={"at": 0.5}, ends=["at"])
def one_shot(
    *,
    sparsity: Any,
    at: Any,
    distribution: str | Distribution = "global",
    structure: Structure | None = None,
    score: str | Importance = "magnitude",
) -> Method:
    """One-shot pruning: trains densely up to a step and prunes all weights there.

    Args:
      sparsity: sparsity after step `at`, in [0, 1).
      at: step after which the mask is chosen, at least 1.
      distribution: distribution of the weights between layers.
      structure: units of weights that are pruned together; None = single weights.
      score: score as in `gradual_magnitude`.

    >>> import optax
    >>> tx = one_shot(optax.adam(1e-3), sparsity=0.5, at=1000)
    """
    checks.fraction("sparsity", sparsity)
    checks.at_least("at", at, 1)
    due = every(1, start=at, end=at, at_end=True)
    return _gradual(
        constant(sparsity),
        due,
        0.0,
        distribution,
        structure,
        importance("score", score),
    )


def _curve(name: str, initial: Any, final: Any, start: Any, end: Any) -> optax.Schedule:
    checks.fraction("sparsity", final)
    checks.fraction("initial_sparsity", initial)
    checks.at_least("sparsity", final, initial)
    checks.one_of("curve", name, _CURVES)
    return _CURVES[name](initial, final, start=start, end=end)


def _gradual(
    target: optax.Schedule,
    due: Due,
    initial_sparsity: Any,
    distribution: str | Distribution,
    structure: Structure | None,
    score: Importance,
) -> Method:
    share_out = by_name(distribution)

    def first(params: Params, key: jax.Array) -> Mask:
        del key
        if isinstance(initial_sparsity, int | float) and initial_sparsity == 0:
            return dense_mask(params)
        return keep(scores.magnitude(params), initial_sparsity, share_out, structure)

    def refresh(step: Step) -> tuple[Mask, Any]:
        wanted = target(step.step)
        return prune(score(step), step.mask, wanted, share_out, structure), step.memory

    return Method(first, refresh, due)
