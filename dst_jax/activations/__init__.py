"""Activation maps: collected with taps, measured exactly."""

from dst_jax.activations.collect import apply_with_activations
from dst_jax.activations.statistics import Sparsity, counts, sparsity
from dst_jax.activations.tap import Tap

__all__ = ["Sparsity", "Tap", "apply_with_activations", "counts", "sparsity"]
