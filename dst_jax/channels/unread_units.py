"""Groups inside blocks, and units that no kept weight reads."""

from typing import Any

import numpy as np

from dst_jax.channels.axis_units import Bools
from dst_jax.channels.groups import Groups
from dst_jax.kernels.unit_sums import owned
from dst_jax.typing import Mask

__all__ = ["inner", "unread"]


def inner(groups: Groups) -> Groups:
    """The groups whose channels one kernel produces and one kernel reads.

    The channels inside the blocks of a residual network and between the layers of a
    plain one, but not those of a residual stream, of a stem that a shortcut reads too,
    or of a concatenation.

    Args:
      groups: from `channels.groups`.

    Reference:
      Yin et al. 2023 (Chase, arXiv 2305.19454), which removes these channels.

    >>> import jax.numpy as jnp
    >>> from dst_jax import channels
    >>> w = {k: jnp.ones((4, 4)) for k in ("stem", "a", "b", "head")}
    >>> def net(w, x):
    ...     x = x @ w["stem"]
    ...     return (x + x @ w["a"] @ w["b"]) @ w["head"]
    >>> found = channels.groups(net)(w, jnp.ones((1, 4)))
    >>> list(found), list(inner(found))
    (['stem', 'a'], ['a'])
    """

    def kernels(name: str, role: str) -> int:
        group = groups[name]
        both = zip(group.members, group.roles, strict=True)
        found = {path for (path, _, _), own in both if own == role}
        return sum(len(groups.shapes[path]) > 1 for path in found)

    return groups.only(
        [
            name
            for name in groups
            if kernels(name, "produces") == kernels(name, "reads") == 1
        ]
    )


def unread(mask: Mask, groups: Groups) -> dict[str, Bools]:
    """What stays without the units that are read by pruned weights alone.

    Removing them changes no output. Units stay where a leaf that is never pruned reads
    them, or where their removal would change values elsewhere (`Group.exact`), and of
    every group one unit stays at least.

    Args:
      mask: pytree of bool arrays, `None` = never pruned.
      groups: from `channels.groups`.

    Returns:
      `{group: bool[size]}`, as `channels.remove` takes it.

    >>> import jax.numpy as jnp
    >>> from dst_jax import channels
    >>> w = {"a": jnp.ones((1, 3)), "b": jnp.ones((3, 1))}
    >>> groups = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> mask = {"a": jnp.ones((1, 3), bool), "b": jnp.array([[True], [False], [True]])}
    >>> unread(mask, groups)["a"].tolist()
    [True, False, True]
    """
    own = owned(mask, groups)
    return {name: _kept(own, groups, name) for name in groups}


def _kept(own: dict[str | None, Any], groups: Groups, name: str) -> Bools:
    """What stays of a group."""
    group = groups[name]
    kept = np.zeros(group.size, bool)
    readers = [
        member
        for member, role in zip(group.members, group.roles, strict=True)
        if role == "reads"
    ]
    if not (group.exact and readers and all(path in own for path, _, _ in readers)):
        return ~kept
    for path, axis, units in readers:
        leaf = np.asarray(own[path])
        read = leaf.any(axis=tuple(i for i in range(leaf.ndim) if i != axis))
        kept[units[read & (units >= 0)]] = True
    kept[0] |= not kept.any()
    return kept
