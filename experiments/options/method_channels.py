"""What a method that removes channels is told: which groups, and a score of units."""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dst_jax.channels import Groups
    from dst_jax.train.unit_scores import UnitScore
    from dst_jax.typing import GroupLike

__all__ = ["open_groups", "unit_score"]


def open_groups(
    which: str, groups: "Callable[[], Groups] | None"
) -> "Mapping[str, GroupLike]":
    """The groups of channels that a method may remove units of.

    Args:
      which: "inner", "all", or a regex over their names.
      groups: returns those of the network; None = one that stands for any of them, to
        check other options with.

    Raises:
      ValueError: there are none.

    >>> list(open_groups("inner", None))
    ['any']
    """
    from dst_jax.channels import Group
    from dst_jax.train import channel_groups

    if groups is None:
        return {"any": Group("any", 1, (), ())}
    return channel_groups.open_groups(groups(), which)


def unit_score(name: Any) -> "UnitScore":
    """A score of units that needs nothing but weights.

    Args:
      name: a name of `channels.scores`, or `module:attribute`.

    Raises:
      ValueError: an unknown name, or a score that needs data.

    >>> unit_score("taylor")
    Traceback (most recent call last):
    ValueError: score must be a function of weights and groups alone, got taylor: ...
    """
    from dst_jax.train import unit_scores

    found = unit_scores.unit_score(str(name))
    try:
        signature(found).bind(None, None)
    except TypeError as error:
        raise ValueError(
            f"score must be a function of weights and groups alone, got {name}: {error}"
        ) from None
    return found
