"""The groups of channels of a stage's network, all or some of them."""

import re
from typing import TYPE_CHECKING

from dst_jax import channels
from dst_jax.channels import Groups
from dst_jax.models.smaller import groups_of
from dst_jax.train.traces import shapes_of
from dst_jax.typing import Network

if TYPE_CHECKING:
    from dst_jax.train.context import Context

__all__ = ["channel_groups", "open_groups"]


def channel_groups(context: "Context", network: Network) -> Groups:
    """The groups of a network, traced once for all networks of these shapes.

    Args:
      context: the run's.
      network: a network; shapes will do.
    """
    return context.once(
        ("groups", *shapes_of(network)), lambda: groups_of(network, context.example)
    )


def open_groups(groups: Groups, which: str) -> Groups:
    """The groups of which units may be removed.

    Args:
      groups: groups of a network.
      which: "inner", those inside of blocks (`channels.inner`); "all", those of the
        residual streams too; or a regex over their names.

    Raises:
      ValueError: there are none, or the regex is none.

    >>> found = Groups(
    ...     {k: channels.Group(k, 8, (), ()) for k in ("conv1", "conv2")},
    ...     shapes={}, fixed={}, aux={})
    >>> list(open_groups(found, "2$"))
    ['conv2']
    """
    if which == "inner":
        found = channels.inner(groups)
    elif which == "all":
        found = groups
    else:
        try:
            names = [name for name in groups if re.search(which, name)]
        except re.error as error:
            raise ValueError(f"groups {which!r} is not a regex: {error}") from None
        found = groups.only(names)
    if not found:
        raise ValueError(f"groups {which!r} are none of: {', '.join(groups)}")
    return found
