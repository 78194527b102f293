"""Feedback that adapts strengths to a target sparsity under a bound on the loss.

ARTS (Zhu et al., DSD 2022) adapts the strength of activation regularisation during
training and STAR (Zhu et al., CVPRW 2023) joins regularisation with thresholding.
Neither update rule is public; the rule below is our own.

Strength alone: `levels` is a number, the penalty's strength. Strength and threshold:
`levels = {"strength": ..., "threshold": ...}` with the threshold of a FATReLU. The
penalty is `capped_l1` with `theta` a little above that threshold, so that only entries
near the threshold are pulled under it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from dst_jax.penalties._numerics import check, check_positive
from dst_jax.typing import Scalar

__all__ = ["Adaptive", "init", "update"]


class Adaptive(NamedTuple):
    """The state of the feedback: a pytree, for any jitted step or checkpoint."""

    levels: PyTree
    """Numbers > 0 that raise the sparsity when they rise: strengths, thresholds."""
    measured: Float[Array, ""]
    """Running mean of the measured sparsity."""
    loss: Float[Array, ""]
    """Running mean of the measured loss."""
    updates: Int[Array, ""]


def init(levels: PyTree) -> Adaptive:
    """The state before the first update.

    Args:
      levels: starting levels, a number > 0 or a pytree of them. A small start is
        safe: the first updates raise it.

    Raises:
      ValueError: a level is not a finite number > 0.

    >>> init({"strength": 0.5, "threshold": 0.25}).levels["threshold"].item()
    0.25
    """
    for level in jax.tree.leaves(levels):
        check_positive("levels", level)
    levels = jax.tree.map(lambda level: jnp.asarray(level, jnp.float32), levels)
    return Adaptive(levels, jnp.float32(0), jnp.float32(0), jnp.int32(0))


def update(
    state: Adaptive,
    measured: Scalar,
    loss: Scalar,
    *,
    target: Scalar,
    max_loss: Scalar,
    gain: PyTree = 0.1,
    memory: Scalar = 0.9,
    lowest: Scalar = 1e-12,
    highest: Scalar = 1e6,
) -> Adaptive:
    """The state after one more measurement.

        want = target - mean(measured)
        room = 1 - mean(loss) / max_loss
        level <- clip(level * exp(gain * clip(min(want, room), -1, 1)), lowest, highest)

    This is integral feedback on the logarithm of the levels; the smaller of `want` and
    `room` sets the step. At rest, either the target is met and the loss is within its
    bound, or the loss is at its bound and the sparsity as high as that allows.

    Args:
      state: state from `init` or the last update.
      measured: quantity that should reach the target and rises with the levels: a
        sparsity or a FLOPs drop, in [0, 1], of one batch or of an evaluation.
      loss: loss of the task without the penalty, > 0.
      target: target of `measured`, in [0, 1], may be traced.
      max_loss: bound of the loss, > 0, may be traced: 1.05 times the baseline's loss
        allows an increase of 5 %.
      gain: fraction by which a level grows per update and unit of `want`; a number,
        or a tree like the levels. It should be small against the inverse of the number
        of updates that the network needs to follow.
      memory: weight of the past in the running means, in [0, 1); their first values
        are plain means.
      lowest: lower bound of every level.
      highest: upper bound of every level.

    Returns:
      The new state.

    Raises:
      ValueError: an option is out of range.

    >>> state = update(init(1.0), 0.5, 0.2, target=0.9, max_loss=1.0, gain=1.0)
    >>> round(float(state.levels), 4)  # exp(0.9 - 0.5)
    1.4918
    >>> state = update(init(1.0), 0.5, 1.5, target=0.9, max_loss=1.0, gain=1.0)
    >>> round(float(state.levels), 4)  # over the bound: exp(1 - 1.5)
    0.6065
    """
    check("target", target, "in [0, 1]", lambda v: 0 <= v <= 1)
    check("memory", memory, "in [0, 1)", lambda v: 0 <= v < 1)
    check_positive("max_loss", max_loss)
    weight = jnp.maximum(1 - memory, 1 / (state.updates + 1.0))
    mean_measured = state.measured + weight * (measured - state.measured)
    mean_loss = state.loss + weight * (loss - state.loss)
    step = jnp.clip(
        jnp.minimum(target - mean_measured, 1 - mean_loss / max_loss), -1, 1
    )
    if jax.tree.structure(gain) != jax.tree.structure(state.levels):
        gain = jax.tree.map(lambda _: gain, state.levels)
    levels = jax.tree.map(
        lambda level, rate: jnp.clip(level * jnp.exp(rate * step), lowest, highest),
        state.levels,
        gain,
    )
    return Adaptive(levels, mean_measured, mean_loss, state.updates + 1)
