"""What shrinks together in any JAX function, and functions that are really smaller.

groups = channels.groups(model.apply)(variables, x)
keep = channels.select(channels.scores.l2(variables, groups), groups, ratio=0.5)
small = channels.remove(variables, groups, keep)
logits = channels.smaller(model.apply, groups, keep)(small, x)
"""

from dst_jax.channels import scores
from dst_jax.channels.dead_units import Folded, dead, fold
from dst_jax.channels.groups import Groups, groups
from dst_jax.channels.kept_positions import Keep
from dst_jax.channels.modules import shrunk
from dst_jax.channels.partition import Group
from dst_jax.channels.plan import Plan
from dst_jax.channels.reasons import Reason
from dst_jax.channels.relations import SplitSide
from dst_jax.channels.relaxed_cost import Relaxed, relaxed
from dst_jax.channels.removal import mask, remove
from dst_jax.channels.selection import select
from dst_jax.channels.smaller_function import smaller
from dst_jax.channels.unread_units import inner, unread

__all__ = [
    "Folded",
    "Group",
    "Groups",
    "Keep",
    "Plan",
    "Reason",
    "Relaxed",
    "SplitSide",
    "dead",
    "fold",
    "groups",
    "inner",
    "mask",
    "relaxed",
    "remove",
    "scores",
    "select",
    "shrunk",
    "smaller",
    "unread",
]
