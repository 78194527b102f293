"""Phases that go on with one optimizer, while their network becomes smaller."""

from collections.abc import Mapping
from dataclasses import dataclass

import optax

from dst_jax import channels
from dst_jax.channels import Plan
from dst_jax.kernels import Kernel
from dst_jax.models.smaller import Smaller
from dst_jax.train.distillation import Distilled, groups_left
from dst_jax.train.optimizer import Optimizer
from dst_jax.train.stage import accepted
from dst_jax.typing import Mask, Network

__all__ = ["Spanning", "carried"]


@dataclass(frozen=True)
class Spanning:
    """An optimizer made for several phases together.

    The schedule of its learning rate ends with the last of them. The phases behind the
    first are stages with `continues=True`.

    Attributes:
      optimizer: optimizer of the whole.
      epochs: length of all phases together.

    >>> def sgd(*, steps, **_):
    ...     return steps
    >>> Spanning(sgd, 3.0)(steps=8, steps_per_epoch=8, mask=None, seed=0)
    24
    """

    optimizer: Optimizer
    epochs: float

    def __call__(
        self,
        *,
        steps: int,
        steps_per_epoch: int,
        mask: Mask,
        seed: int,
        kernels: Mapping[str, Kernel] | None = None,
    ) -> optax.GradientTransformation:
        """The transform for the steps of all phases."""
        return self.optimizer(
            steps=max(steps, round(self.epochs * steps_per_epoch)),
            steps_per_epoch=steps_per_epoch,
            mask=mask,
            seed=seed,
            **accepted(self.optimizer, kernels=kernels),
        )


def carried(
    opt_state: optax.OptState, before: Network, after: Network
) -> optax.OptState:
    """An optimizer state without what has been removed from the network since.

    What it keeps of every parameter, such as momentum, stays as it is at the positions
    that are kept; counts of steps go on.

    Args:
      opt_state: state of the phase before.
      before: network that the phase handed on.
      after: the network that is trained now.

    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> from dst_jax.models.smaller import groups_of, smaller_network
    >>> def model(variables, x, *, train=False, rngs=None):
    ...     w = variables["params"]
    ...     return x @ w["a"] @ w["b"], {}, {}
    >>> params = {"a": jnp.ones((4, 3)), "b": jnp.ones((3, 2))}
    >>> before, x = Network(model, {"params": params}), jnp.ones((1, 4))
    >>> keep = {"a": np.array([True, False, True])}
    >>> after = smaller_network(before, groups_of(before, x), keep)
    >>> state = optax.sgd(0.1, momentum=0.9).init(params)
    >>> carried(state, before, after)[0].trace["a"].shape
    (4, 2)
    """
    now: Plan | None = getattr(after.model, "plan", None)
    if now is None:
        return opt_state
    model = before.model
    if isinstance(model, Smaller | Distilled):
        groups, keep = groups_left(model, before.variables), now.since(model.plan)
    else:
        groups, keep = now.groups, now.keep
    # The parameters are there for optimizers without a state of their shapes.
    return channels.remove((before.params, opt_state), groups, keep)[1]
