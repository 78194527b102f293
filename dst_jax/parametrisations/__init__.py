"""What is trained, what the network computes with, and what joins the two trees."""

from dst_jax.parametrisations.base import Parametrisation, State, finish_mask
from dst_jax.parametrisations.compose import Composition, Identity, compose, identity
from dst_jax.parametrisations.gate_members import GroupLike
from dst_jax.parametrisations.gated import Gated, fence_sitters, gated
from dst_jax.parametrisations.shared import (
    Shared,
    adjusted_density,
    block_rules,
    shared,
)
from dst_jax.parametrisations.straight_through import StraightThrough, straight_through

__all__ = [
    "Composition",
    "Gated",
    "GroupLike",
    "Identity",
    "Parametrisation",
    "Shared",
    "State",
    "StraightThrough",
    "adjusted_density",
    "block_rules",
    "compose",
    "fence_sitters",
    "finish_mask",
    "gated",
    "identity",
    "shared",
    "straight_through",
]
