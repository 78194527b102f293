"""Variables of a network that follow the step: thresholds, phases."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from dst_jax import checks, trees
from dst_jax.typing import Scalar, Schedule

__all__ = ["Schedules", "check", "put", "put_anew", "values"]

Schedules = Mapping[str, Schedule]
"""By the path of a variable, or of all variables below it, or by any other name."""


def values(schedules: Schedules, step: Scalar) -> dict[str, Array]:
    """The value of every schedule at a step.

    >>> {k: float(v) for k, v in values({"phases": lambda t: 0.5 * t}, 3).items()}
    {'phases': 1.5}
    """
    return {name: jnp.asarray(schedule(step)) for name, schedule in schedules.items()}


def put(model_state: Mapping[str, Any], found: Mapping[str, Array]) -> dict[str, Any]:
    """Variables with these values, each at its path or at all paths below it.

    Names that are no path of the variables are for others, and are passed over.

    Args:
      model_state: collections of variables, without the parameters.
      found: values by name, the first that fits wins; they are cast to their
        variable's dtype and broadcast to its shape.

    >>> state = {"thresholds": {"relu1": jnp.zeros(2), "relu2": jnp.zeros(2)}}
    >>> changed = put(state, {"thresholds/relu1": jnp.float32(0.5)})["thresholds"]
    >>> changed["relu1"].tolist(), changed["relu2"].tolist()
    ([0.5, 0.5], [0.0, 0.0])
    """

    def choose(path: str, leaf: Any) -> Any:
        for name, value in found.items():
            if _is_at(path, name):
                return jnp.broadcast_to(value.astype(leaf.dtype), leaf.shape)
        return leaf

    return trees.map_named(choose, dict(model_state))


def put_anew(
    model_state: Mapping[str, Any], found: Mapping[str, Array]
) -> dict[str, Any]:
    """`put`, for what a jitted function returns in the buffers of `model_state`.

    On GPUs, XLA leaves old values in all but the first and the last of several donated
    buffers that are returned with one value (jax#39625, jax 0.11). Here each new value
    depends on the old one, for the compiler; a NaN is chosen nowhere.

    Args:
      model_state: as for `put`.
      found: as for `put`; none of them is NaN.

    >>> state = {"phases": {"relu1": jnp.float32(1), "relu2": jnp.float32(1)}}
    >>> changed = put_anew(state, {"phases": jnp.float32(0.5)})["phases"]
    >>> [float(phase) for phase in changed.values()]
    [0.5, 0.5]
    """
    new = put(model_state, found)
    return jax.tree.map(
        lambda old, value: (
            old if value is old else jnp.where(value == value, value, old)
        ),
        dict(model_state),
        new,
    )


def check(
    schedules: Schedules, model_state: Mapping[str, Any], *, others: bool
) -> None:
    """Refuses a schedule whose value nothing would read.

    Args:
      schedules: the schedules of a stage.
      model_state: collections of variables; shapes will do.
      others: whether something else may read a value, by a name that is no path.

    Raises:
      ValueError: a name is neither a path of a variable nor, with `others`, a plain
        name.

    >>> check({"phase": lambda step: step}, {"phases": {"relu": 0}}, others=False)
    Traceback (most recent call last):
    ValueError: schedules must be one of ('phases',...did you mean 'phases'?
    """
    paths = list(trees.named_leaves(dict(model_state)))
    parts = [path.split("/") for path in paths]
    known = {"/".join(p[: i + 1]): None for p in parts for i in range(len(p))}
    for name in schedules:
        if not (others and "/" not in name):
            checks.one_of("schedules", name, known)


def _is_at(path: str, name: str) -> bool:
    """Whether a path is the named one or below it."""
    return path == name or path.startswith(f"{name}/")
