"""Which positions of which axes remain, from the units that are kept."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dst_jax import checks
from dst_jax.channels.axis_units import Bools
from dst_jax.channels.partition import Group

__all__ = ["Keep", "kept_positions"]

Keep = Mapping[str, Any]
"""By name of a group, for every unit whether it is kept; a group that it lacks is."""


def kept_positions(
    groups: Mapping[str, Group], keep: Keep
) -> dict[str, dict[int, Bools]]:
    """By path and axis of a leaf, which of its positions are kept.

    Raises:
      ValueError: a group is unknown; `keep` has another length than the group, or keeps
        nothing of one that is `needed` or inexact.

    >>> import jax.numpy as jnp
    >>> from dst_jax import channels
    >>> w = {"fc1": jnp.ones((1, 2)), "fc2": jnp.ones((2, 1))}
    >>> net = lambda w, x: x @ w["fc1"] @ w["fc2"]
    >>> groups = channels.groups(net)(w, jnp.ones((1, 1)))
    >>> kept_positions(groups, {"fc1": [True, False]})["fc2"]
    {0: array([ True, False])}
    """
    found: dict[str, dict[int, Bools]] = {}
    for name, chosen in keep.items():
        checks.one_of("group", name, groups)
        group = groups[name]
        kept = np.asarray(chosen)
        if kept.dtype != np.bool_ or kept.shape != (group.size,):
            raise ValueError(
                f"keep[{name!r}] must be bool of shape ({group.size},), got"
                f" {kept.dtype} of shape {kept.shape}"
            )
        why = group.needed or (group.inexact[0] if group.inexact else None)
        if not kept.any() and why:
            raise ValueError(
                f"keep[{name!r}] must keep at least one unit, got none: {why}"
            )
        for path, axis, units in group.members:
            positions = np.where(units >= 0, kept[units], True)
            axes = found.setdefault(path, {})
            axes[axis] = axes[axis] & positions if axis in axes else positions
    return found
