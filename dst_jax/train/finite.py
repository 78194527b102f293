"""Networks, losses and metrics that are not finite: found, and named."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool

from dst_jax.train.sharding import replicated
from dst_jax.trees import named_leaves

__all__ = ["NonFiniteLoss", "NonFiniteNetwork", "check_metrics", "check_tree"]


class NonFiniteLoss(ArithmeticError):
    """The loss became NaN or infinite at `step`.

    >>> print(NonFiniteLoss(12, float("nan"), "no checkpoint yet"))
    the loss is nan at step 12. no checkpoint yet
    """

    def __init__(self, step: int, loss: float, where: str = ""):
        super().__init__(_sentence(f"the loss is {loss}", step, where))
        self.step = step
        self.loss = loss

    def placed(self, where: str, *, step: int | None = None) -> "NonFiniteLoss":
        """The same error, with the step if it has none, and what else is known of it.

        >>> print(NonFiniteLoss(12, float("nan")).placed("dense: no checkpoint yet"))
        the loss is nan at step 12. dense: no checkpoint yet
        """
        del step  # a loss has its own
        return type(self)(self.step, self.loss, where)


class NonFiniteNetwork(NonFiniteLoss):
    """A network, or what an evaluation says of it, is NaN or infinite.

    Attributes:
      what: what is not finite.
      step: the step at which it was found; None outside training.

    >>> print(NonFiniteNetwork("params/fc/kernel is not finite", 8))
    params/fc/kernel is not finite at step 8
    """

    def __init__(self, what: str, step: int | None = None, where: str = ""):
        ArithmeticError.__init__(self, _sentence(what, step, where))
        self.what = what
        self.step = step
        self.loss = math.nan

    def placed(self, where: str, *, step: int | None = None) -> "NonFiniteLoss":
        """The same error, with the step if it has none, and what else is known of it.

        >>> print(NonFiniteNetwork("w is not finite").placed("dense", step=8))
        w is not finite at step 8. dense
        """
        return type(self)(self.what, step if self.step is None else self.step, where)


def check_tree(tree: Any, mesh: Mesh, *, step: int | None = None) -> None:
    """Refuses a tree that holds NaN or infinities; reads one bool per leaf.

    Args:
      tree: arrays; those that are not of floating point are passed over.
      mesh: mesh of the devices that hold them.
      step: the step, for the message.

    Raises:
      NonFiniteNetwork: naming the first leaves that are not finite.

    >>> from dst_jax.train.sharding import make_mesh
    >>> check_tree({"w": jnp.array([1.0, jnp.inf]), "b": jnp.zeros(2)}, make_mesh())
    Traceback (most recent call last):
    dst_jax.train.finite.NonFiniteNetwork: the network's w is not finite
    """
    leaves = {
        name: leaf
        for name, leaf in named_leaves(tree).items()
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    }
    if not leaves:
        return
    finite = np.asarray(_are_finite(mesh)(list(leaves.values())))
    if not finite.all():
        names = [name for name, fine in zip(leaves, finite, strict=True) if not fine]
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise NonFiniteNetwork(f"the network's {shown} is not finite", step)


def check_metrics(metrics: Mapping[str, float], names: tuple[str, ...]) -> None:
    """Refuses an evaluation whose loss or best metric is NaN or infinite.

    Args:
      metrics: metrics of the evaluation.
      names: names of those that must be finite, if they are there.

    Raises:
      NonFiniteNetwork: naming the first that is not.

    >>> check_metrics({"loss": float("nan"), "top1": 0.1}, ("loss", "top1"))
    Traceback (most recent call last):
    dst_jax.train.finite.NonFiniteNetwork: the evaluation's loss is nan
    """
    for name in names:
        if name in metrics and not math.isfinite(metrics[name]):
            raise NonFiniteNetwork(f"the evaluation's {name} is {metrics[name]}")


@lru_cache
def _are_finite(mesh: Mesh) -> Any:
    def are_finite(leaves: list[Array]) -> Bool[Array, " leaves"]:
        return jnp.stack([jnp.isfinite(leaf).all() for leaf in leaves])

    return jax.jit(are_finite, out_shardings=replicated(mesh))


def _sentence(what: str, step: int | None, where: str) -> str:
    at = "" if step is None else f" at step {step}"
    return f"{what}{at}. {where}".rstrip(". ")
