"""Systems as lists of stages, one file for each."""

from dst_jax.train.stage import Stage
from dst_jax.train.stages.dual_sparse import (
    control,
    initial,
    pretrain,
    sparsify_activations,
    sparsify_weights,
)
from dst_jax.train.stages.hooks import Thresholding, choose_mask, no_mask
from dst_jax.train.stages.sparse_training import sparse_training

__all__ = [
    "Stage",
    "Thresholding",
    "choose_mask",
    "control",
    "initial",
    "no_mask",
    "pretrain",
    "sparse_training",
    "sparsify_activations",
    "sparsify_weights",
]
