"""What shrinks together in any JAX function, and functions that are really smaller."""

from dst_jax.channels.groups import Groups, groups
from dst_jax.channels.partition import Group
from dst_jax.channels.reasons import Reason
from dst_jax.channels.removal import mask, remove
from dst_jax.channels.smaller_function import smaller

__all__ = ["Group", "Groups", "Reason", "groups", "mask", "remove", "smaller"]
