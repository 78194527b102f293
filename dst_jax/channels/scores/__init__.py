"""Importance of every unit of every group: the lowest are removed first.

Every score is `(params, groups, ...) -> {group: float[size]}`. A unit occurs along axes
of several leaves: kernels that produce it, scales and shifts of a normalisation,
kernels that read it. A score sums over all of them, or over those with a role.
"""

from dst_jax.channels.scores.map_scores import apoz, wanda
from dst_jax.channels.scores.weight_scores import (
    bn_scale,
    fpgm,
    l1,
    l2,
    lamp,
    taylor,
    umm,
)
from dst_jax.kernels.unit_sums import Scores

__all__ = [
    "Scores",
    "apoz",
    "bn_scale",
    "fpgm",
    "l1",
    "l2",
    "lamp",
    "taylor",
    "umm",
    "wanda",
]
