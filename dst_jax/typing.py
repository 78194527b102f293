"""Array and tree aliases, and the protocols that the wings are written against."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.core
from jaxtyping import Array, Float

__all__ = [
    "Axis",
    "Mask",
    "Params",
    "Penalty",
    "Rules",
    "Scalar",
    "Schedule",
    "Score",
    "is_traced",
]

Axis = int | Sequence[int] | None

Scalar = jax.typing.ArrayLike
"""A number that may be traced."""

Params = Any
"""A pytree of float arrays; `None` marks a leaf that is left out."""

Mask = Any
"""A pytree of bool arrays shaped like the parameters; `None` = never pruned."""

Rules = Sequence[tuple[str, Any]]
"""`[(regex, value), ...]` over path names such as `layer1/0/conv1/kernel`."""


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
    """A scalar for a step, as Optax writes its schedules."""

    def __call__(self, count: jax.typing.ArrayLike) -> jax.typing.ArrayLike:
        """The value at step `count`."""
        ...


def is_traced(x: Any) -> bool:
    """Whether a value is unknown while JAX traces: a range check has to pass it."""
    return isinstance(x, jax.core.Tracer)
