"""Learning-rate schedules, and optimizers that hold a mask or choose it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal, Protocol, get_args, runtime_checkable

import optax

from dst_jax import checks, pruning, trees
from dst_jax.kernels import Kernel, of
from dst_jax.typing import Mask, Params

__all__ = [
    "LearningRateDecay",
    "Optimizer",
    "Rule",
    "Sparsify",
    "chain",
    "learning_rate",
    "sgd",
]

LearningRateDecay = Literal["cosine", "step", "constant"]
Rule = Literal["sgd", "adamw"]
Sparsify = Callable[[optax.GradientTransformation, Mask], optax.GradientTransformation]
"""A method of sparse training around an optimizer, with its first mask or None."""


@runtime_checkable
class Optimizer(Protocol):
    """Builds a stage's optimizer once its steps and its mask are known."""

    def __call__(
        self, *, steps: int, steps_per_epoch: int, mask: Mask, seed: int
    ) -> optax.GradientTransformation:
        """The transform for a stage of `steps` steps.

        Args:
          steps: batches in the stage.
          steps_per_epoch: batches in an epoch.
          mask: what is held, or where a method starts from; None = nothing given.
          seed: seed of random choices; only `init` may depend on it.

        An optimizer that also has an argument `kernels` is given what the network's
        trace says of its leaves, see `dst_jax.kernels`; with `weights` and `trained` it
        is given the shapes of the network's weights and of what is trained; with
        `groups` a function that returns the network's groups of channels, see
        `dst_jax.channels`.
        """
        ...


def learning_rate(
    peak: float,
    *,
    steps: int,
    decay: LearningRateDecay = "cosine",
    warmup: int = 0,
    milestones: tuple[float, ...] = (0.5, 0.75),
    factor: float = 0.1,
) -> optax.Schedule:
    """Linear warm-up to `peak`, then a decay to the last step.

    Args:
      peak: the highest learning rate, > 0 and finite.
      steps: updates in all, the warm-up included.
      decay: "cosine" to 0, "step" (times `factor` at each milestone), "constant".
      warmup: updates from 0 to `peak`.
      milestones: shares of `steps` in (0, 1), for "step".
      factor: factor at each milestone, > 0 and finite, for "step".

    Raises:
      ValueError: a value is out of range.

    >>> schedule = learning_rate(0.1, steps=100, decay="step")
    >>> round(float(schedule(0) / schedule(60)), 3)
    10.0
    """
    if not peak > 0:
        raise ValueError(f"peak must be > 0, got {peak}")
    checks.positive("peak", peak)
    checks.positive("factor", factor)
    checks.one_of("decay", decay, get_args(LearningRateDecay))
    if not 0 <= warmup <= steps:
        raise ValueError(f"warmup must be in [0, steps={steps}], got {warmup}")
    if not all(0 < m < 1 for m in milestones):
        raise ValueError(f"milestones must be in (0, 1), got {milestones}")
    rest = max(steps - warmup, 1)
    if decay == "cosine":
        after = optax.cosine_decay_schedule(peak, rest)
    elif decay == "step":
        at = [round(m * steps) - warmup for m in milestones]
        after = optax.piecewise_constant_schedule(peak, dict.fromkeys(at, factor))
    else:
        after = optax.constant_schedule(peak)
    if warmup == 0:
        return after
    return optax.join_schedules(
        [optax.linear_schedule(peak / warmup, peak, warmup), after], [warmup]
    )


def chain(
    schedule: optax.ScalarOrSchedule,
    *,
    mask: Mask = None,
    rule: Rule = "sgd",
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clip: float | None = None,
    accumulate: int = 1,
    sparsify: Sparsify | None = None,
    kernels: Mapping[str, Kernel] | None = None,
) -> optax.GradientTransformation:
    """Clipping, weight decay, SGD or AdamW, the mask, and gradient accumulation.

    Args:
      schedule: learning rate per update.
      mask: mask that `pruning.apply_mask` holds, or None.
      rule: "sgd" (decay is added to the gradient, as PyTorch does) or "adamw"
        (decoupled).
      momentum: momentum of SGD, in [0, 1).
      nesterov: whether SGD's momentum is Nesterov's.
      weight_decay: factor of the decay, at least 0, on kernels only.
      clip: the largest global norm of a gradient, > 0 and finite, or None.
      accumulate: batches averaged into one update, at least 1.
      sparsify: a method of `dst_jax.pruning` around all but the accumulation, which
        starts from `mask` if that is not None.
      kernels: kernels of the network, as `kernels.by_use` finds them; by name if None.

    Raises:
      ValueError: a value is out of range.

    >>> tx = chain(0.1, weight_decay=1e-4)
    >>> _ = tx.init({"kernel": optax.tree.zeros_like(1.0)})
    """
    checks.one_of("rule", rule, get_args(Rule))
    if not 1 <= accumulate < 2**31:
        raise ValueError(f"accumulate must be at least 1, got {accumulate}")
    checks.fraction("momentum", momentum)
    checks.at_least("weight_decay", weight_decay, 0)
    if clip is not None:
        checks.positive("clip", clip)

    def decayed(params: Params) -> Params:
        own = of(params, kernels)
        return trees.map_named(lambda path, _: path in own, params)

    links = [] if clip is None else [optax.clip_by_global_norm(clip)]
    if rule == "adamw":
        links.append(optax.adamw(schedule, weight_decay=weight_decay, mask=decayed))
    else:
        links.append(optax.add_decayed_weights(weight_decay, mask=decayed))
        links.append(optax.sgd(schedule, momentum=momentum, nesterov=nesterov))
    if mask is not None and sparsify is None:
        links.append(pruning.apply_mask(mask))
    whole = optax.chain(*links)
    if sparsify is not None:
        whole = sparsify(whole, mask)
    if accumulate == 1:
        return whole
    return optax.MultiSteps(whole, accumulate).gradient_transformation()


def sgd(peak: float, *, momentum: float = 0.9, weight_decay: float = 1e-4) -> Optimizer:
    """A stage's optimizer: SGD, its learning rate along half a cosine from `peak` to 0.

    It holds the stage's mask. An optimizer of your own is a function like this one's
    result, which returns any Optax transform.

    Args:
      peak: learning rate at the start, > 0 and finite.
      momentum: momentum, in [0, 1).
      weight_decay: factor of the decay, at least 0, on kernels only.

    Raises:
      ValueError: a value is out of range.

    >>> tx = sgd(0.1)(steps=100, steps_per_epoch=10, mask=None, seed=0)
    >>> _ = tx.init({"kernel": optax.tree.zeros_like(1.0)})
    """
    checks.positive("peak", peak)
    checks.fraction("momentum", momentum)
    checks.at_least("weight_decay", weight_decay, 0)
    return partial(_sgd, peak, momentum=momentum, weight_decay=weight_decay)


def _sgd(
    peak: float,
    *,
    momentum: float,
    weight_decay: float,
    steps: int,
    steps_per_epoch: int,
    mask: Mask,
    seed: int,
    kernels: Mapping[str, Kernel] | None = None,
) -> optax.GradientTransformation:
    del steps_per_epoch, seed
    return chain(
        learning_rate(peak, steps=steps),
        mask=mask,
        momentum=momentum,
        weight_decay=weight_decay,
        kernels=kernels,
    )
