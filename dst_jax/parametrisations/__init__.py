"""What is trained, what the network computes with, and what joins the two trees."""

from dst_jax.parametrisations.base import (
    Parametrisation,
    State,
    finish_mask,
    finish_variables,
    init_with,
)
from dst_jax.parametrisations.carried_gates import GATES, CarriedGates
from dst_jax.parametrisations.compose import Composition, Identity, compose, identity
from dst_jax.parametrisations.fence_sitters import fence_sitters
from dst_jax.parametrisations.gate_members import GroupLike, gateable
from dst_jax.parametrisations.gated import Gated, gated
from dst_jax.parametrisations.shared import (
    Shared,
    adjusted_density,
    block_rules,
    shared,
)
from dst_jax.parametrisations.straight_through import StraightThrough, straight_through

__all__ = [
    "GATES",
    "CarriedGates",
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
    "finish_variables",
    "gateable",
    "gated",
    "identity",
    "init_with",
    "shared",
    "straight_through",
]
