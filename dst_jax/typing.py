"""Array and tree aliases, and the protocols that the wings are written against."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.core
import numpy as np
from jaxtyping import Array, Float

__all__ = [
    "Axis",
    "GroupLike",
    "Mask",
    "Model",
    "Network",
    "Params",
    "Penalty",
    "Rules",
    "Scalar",
    "Schedule",
    "Score",
    "Variables",
    "Within",
    "concrete",
    "is_traced",
]

Axis = int | Sequence[int] | None
"""Axes that are reduced; None for all of them."""

Scalar = jax.typing.ArrayLike
"""A number that may be traced."""

Params = Any
"""A pytree of float arrays; `None` marks a leaf that is left out."""

Mask = Any
"""A pytree of bool arrays shaped like the parameters; `None` = never pruned."""

Variables = Mapping[str, Any]
"""What a network computes with: `{"params": ..., "batch_stats": ..., ...}`."""

Rules = Sequence[tuple[str, Any]]
"""`[(regex, value), ...]` over path names such as `layer1/0/conv1/kernel`."""

Within = Callable[[], AbstractContextManager[Any]]
"""Makes a context that a network is traced in."""


@runtime_checkable
class GroupLike(Protocol):
    """Channels that are removed together, as `channels.groups` finds them.

    A group may say more: `gates`, the numbers of the members that gates multiply, and
    `ungated`, why no gate can be put on it.
    """

    @property
    def size(self) -> int:
        """How many units it has: channels, or bundles of them."""
        ...

    @property
    def members(self) -> Sequence[Any]:
        """`(path, axis, units)`: `units[i]` in 0..size-1, -1 for another group's."""
        ...

    @property
    def roles(self) -> Sequence[str]:
        """One per member: produces, scales, shifts, statistic, reads."""
        ...


@runtime_checkable
class Penalty(Protocol):
    """`R(x)`: a sum over `axis` (everything by default) that favours zeros."""

    def __call__(
        self, x: Float[Array, "..."], *, axis: Axis = None
    ) -> Float[Array, "..."]:
        """The penalty of `x` over `axis`."""
        ...


@runtime_checkable
class Score(Protocol):
    """Importance of every weight: the lowest scores are pruned first."""

    def __call__(self, params: Params) -> Params:
        """A tree of scores shaped like `params`."""
        ...


@runtime_checkable
class Schedule(Protocol):
    """A scalar for a step, as Optax writes its schedules.

    >>> import optax
    >>> isinstance(optax.linear_schedule(0.0, 1.0, 10), Schedule)
    True
    """

    def __call__(self, count: Scalar) -> Scalar:
        """The value at step `count`."""
        ...


@runtime_checkable
class Model(Protocol):
    """A network as a function of its variables and its input; any function will do.

    A model may say more about itself, in attributes:

      init(key, example) -> variables   fresh variables for inputs like `example`
      plans                             what has been removed from the network that the
                                        record of a run names: plain data in original
                                        coordinates, in order

    >>> isinstance(lambda variables, x, *, train, rngs: (x, {}, {}), Model)
    True
    """

    def __call__(
        self,
        variables: Variables,
        x: Array,
        *,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Mapping[str, Array], Variables]:
        """The outputs, the activation maps by name and the updated collections.

        Args:
          variables: its variables, the parameters under `params`.
          x: the input, with the batch first.
          train: whether it trains: statistics of the batch, dropout.
          rngs: random keys by name, such as `{"dropout": key}`; None in evaluation.
        """
        ...


class Network(NamedTuple):
    """A network as stages hand it on: a function, its variables and its mask.

    A pytree of the variables and the mask; the model is part of its structure, so that
    a jitted function can take a network and return another one.

    >>> def double(variables, x, *, train=False, rngs=None):
    ...     return variables["params"]["scale"] * x, {}, {}
    >>> network = Network(double, {"params": {"scale": 2.0}})
    >>> network.params, network.model_state, network.mask
    ({'scale': 2.0}, {}, None)
    """

    model: Model
    variables: Variables
    """With the parameters under `params`."""
    mask: Mask = None
    """What is pruned of the parameters; None while nothing has been pruned."""

    @property
    def params(self) -> Params:
        """The parameters.

        >>> Network(print, {"params": {"w": 1}, "batch_stats": {"mean": 0}}).params
        {'w': 1}
        """
        return self.variables["params"]

    @property
    def model_state(self) -> dict[str, Any]:
        """The other collections, for instance `{"batch_stats": ...}`.

        >>> Network(print, {"params": {"w": 1}, "batch_stats": {"mean": 0}}).model_state
        {'batch_stats': {'mean': 0}}
        """
        return {k: v for k, v in self.variables.items() if k != "params"}

    def with_params(self, params: Params) -> "Network":
        """The network with other parameters; its other variables stay.

        >>> Network(print, {"params": 1, "batch_stats": 2}).with_params(3).variables
        {'params': 3, 'batch_stats': 2}
        """
        return self._replace(variables={**self.variables, "params": params})


_VARIABLES = jax.tree_util.GetAttrKey("variables")
_MASK = jax.tree_util.GetAttrKey("mask")
jax.tree_util.register_pytree_with_keys(
    Network,
    lambda n: (((_VARIABLES, n.variables), (_MASK, n.mask)), n.model),
    lambda model, children: Network(model, *children),
)


def is_traced(x: Any) -> bool:
    """Whether a value is unknown while JAX traces: a range check has to pass it.

    >>> is_traced(0.5), jax.jit(lambda x: is_traced(x))(0.5).item()
    (False, True)
    """
    return isinstance(x, jax.core.Tracer)


def concrete(x: Any) -> Any:
    """A value that is known, where it is compared in Python.

    Inside a traced function, JAX traces the comparison of a constant array too, so that
    its outcome is unknown. This is such an array as NumPy's; others are as they are.

    >>> half = jax.numpy.float32(0.5)
    >>> jax.jit(lambda: 3 if concrete(half) < 1 else 4)().item()
    3
    """
    constant = isinstance(x, jax.Array) and not is_traced(x)
    return np.asarray(x) if constant else x
