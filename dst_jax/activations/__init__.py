"""Activation maps: taps that collect them, exact counts, functions that sparsify."""

from dst_jax.activations.collect import apply_with_activations
from dst_jax.activations.collect_traced import collect
from dst_jax.activations.dyrelu import (
    PHASES,
    DyReLU,
    phase_out,
    with_phase,
    without_dyrelu,
)
from dst_jax.activations.saved import saving_largest
from dst_jax.activations.schedules import relu_to_fat_relu, sine_stages
from dst_jax.activations.sown_maps import maps_of
from dst_jax.activations.spatial import (
    apply_spatial,
    channel_l1,
    random_scores,
    spatial_mask,
)
from dst_jax.activations.statistics import Sparsity, counts, sparsity
from dst_jax.activations.tap import Tap
from dst_jax.activations.tap_operation import tap
from dst_jax.activations.threshold_functions import (
    fat_relu,
    hard_threshold,
    percentile_thresholds,
    soft_threshold,
)
from dst_jax.activations.threshold_search import FoundThresholds, search_thresholds
from dst_jax.activations.threshold_variables import thresholds_of, with_thresholds
from dst_jax.activations.through import through
from dst_jax.activations.top_k import keep_top_k, sparsify_saved
from dst_jax.activations.union_sparsity import tiles_of, union_counts, union_sparsity

__all__ = [
    "PHASES",
    "DyReLU",
    "FoundThresholds",
    "Sparsity",
    "Tap",
    "apply_spatial",
    "apply_with_activations",
    "channel_l1",
    "collect",
    "counts",
    "fat_relu",
    "hard_threshold",
    "keep_top_k",
    "maps_of",
    "percentile_thresholds",
    "phase_out",
    "random_scores",
    "relu_to_fat_relu",
    "saving_largest",
    "search_thresholds",
    "sine_stages",
    "soft_threshold",
    "sparsify_saved",
    "sparsity",
    "spatial_mask",
    "tap",
    "thresholds_of",
    "through",
    "tiles_of",
    "union_counts",
    "union_sparsity",
    "with_phase",
    "with_thresholds",
    "without_dyrelu",
]
