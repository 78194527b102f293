"""Induces zeros by a penalty, prunes by a threshold, and fine-tunes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import checks
from dst_jax.pruning import schedules, scores
from dst_jax.pruning.description import method
from dst_jax.pruning.distributions import Distribution, by_name
from dst_jax.pruning.protocol import Method, Step, masked_gradients
from dst_jax.pruning.updates import dense_mask, prune
from dst_jax.typing import Mask, Params, Penalty

__all__ = ["threshold"]

Prox = Callable[[Array, Any], Array]
"""`(y, strength) -> argmin_x (x - y)^2 / 2 + strength R(x)`."""


@method(lengths={"induce": 0.5}, ends=["induce"], texts={"penalty": "l1"})
def threshold(
    *,
    induce: Any,
    strength: Any,
    penalty: Penalty | None = None,
    prox: Prox | None = None,
    step_size: Any = None,
    threshold: Any = None,
    sparsity: Any = None,
    distribution: str | Distribution = "global",
) -> Method:
    """Stage two of Yu & Tian: penalises the weights, then prunes by a threshold.

        steps 1 ... induce:  gradient + strength * dR(w)/dw        with `penalty`,
                             w <- prox(w, step_size * strength)    with `prox`, after
                                                                   the optimizer's step
        after step induce:   weights with |w| < threshold, or 0, are pruned
        then:                no penalty, the mask is held

    With `sparsity` in place of `threshold` the smallest weights are pruned, to an exact
    number.

    Penalties come as functions: `penalties.l1`, or by name with options
    `penalties.get("transformed_l1", a=0.1)` and `penalties.get_prox(...)`. Proximal
    steps leave exact zeros before anything is pruned. An optimizer that scales
    gradients one by one, as Adam does, scales the penalty's too; `prox` comes after it
    and knows one step size for all weights.

    Args:
      induce: steps with the penalty, at least 1.
      strength: strength of the penalty, at least 0, for all prunable weights.
      penalty: penalty `R(w)`, a sum over a layer's weights, whose gradient is added to
        the loss's.
      prox: proximal map of a penalty, in place of `penalty`.
      step_size: step size of `prox`, the learning rate: a number >= 0, or the same
        Optax schedule as the inner optimizer's (its first step sees 0).
      threshold: smallest magnitude that is kept, a number >= 0.
      sparsity: fraction that is pruned, in [0, 1), in place of `threshold`.
      distribution: distribution between layers of what `sparsity` keeps.

    Raises:
      ValueError: an option is out of range; not exactly one of `penalty` and `prox`, or
        of `threshold` and `sparsity`; `prox` without `step_size` or the reverse.

    Reference:
      Yu & Tian 2024 (arXiv 2405.19652), stage two. Proximal steps: Parikh & Boyd 2014
      (Proximal algorithms), section 4.2.

    >>> import optax
    >>> from dst_jax import penalties
    >>> tx = threshold(
    ...     optax.sgd(0.1),
    ...     induce=100,
    ...     strength=1e-4,
    ...     penalty=penalties.l1,
    ...     threshold=1e-3,
    ... )
    """
    checks.at_least("induce", induce, 1)
    checks.at_least("strength", strength, 0)
    _check_alternatives(penalty, prox, step_size, threshold, sparsity)
    share_out = by_name(distribution)
    rate = step_size if callable(step_size) else lambda count: step_size

    def gradients(step: Step) -> Params:
        now = jnp.where(step.step <= induce, strength, 0)
        kept = masked_gradients(step)
        return kept if penalty is None else _penalised(kept, step, penalty, now)

    def shrink(step: Step) -> Params:
        now = strength * rate(step.step - 1)
        return jax.tree.map(
            lambda w: jnp.where(step.step <= induce, _shrunk(prox, w, now), w),
            step.params,
        )

    def refresh(step: Step) -> tuple[Mask, Any]:
        size = scores.magnitude(step.params)
        if sparsity is not None:
            return prune(size, step.mask, sparsity, share_out), step.memory
        return jax.tree.map(lambda s: (s >= threshold) & (s > 0), size), step.memory

    return Method(
        first=lambda params, key: dense_mask(params),
        refresh=refresh,
        due=schedules.every(1, start=induce, end=induce, at_end=True),
        gradients=gradients,
        adjust=None if prox is None else shrink,
    )


def _penalised(grads: Params, step: Step, penalty: Penalty, strength: Any) -> Params:
    def pull(grad: Array, weight: Array) -> Array:
        slope = jax.grad(lambda w: penalty(w).astype(jnp.float32))(weight)
        return grad + (strength * slope).astype(grad.dtype)

    return jax.tree.map(pull, grads, step.params)


def _shrunk(prox: Any, weight: Array, strength: Any) -> Array:
    return prox(weight, strength).astype(weight.dtype)


def _check_alternatives(
    penalty: Any, prox: Any, step_size: Any, threshold: Any, sparsity: Any
) -> None:
    if (penalty is None) == (prox is None):
        raise ValueError(
            "exactly one of penalty and prox must be given, got"
            f" penalty={penalty!r}, prox={prox!r}"
        )
    if (prox is None) != (step_size is None):
        raise ValueError(
            f"step_size goes with prox, got step_size={step_size!r}, prox={prox!r}"
        )
    if (threshold is None) == (sparsity is None):
        raise ValueError(
            "exactly one of threshold and sparsity must be given, got"
            f" threshold={threshold!r}, sparsity={sparsity!r}"
        )
    if threshold is not None:
        checks.at_least("threshold", threshold, 0)
    if sparsity is not None:
        checks.fraction("sparsity", sparsity)
    if step_size is not None and not callable(step_size):
        checks.at_least("step_size", step_size, 0)
