"""Systems as lists of stages, one file for each."""

from dst_jax.train.gate_training import GateTraining
from dst_jax.train.stage import Stage
from dst_jax.train.stages.dual_sparse import (
    control,
    initial,
    pretrain,
    sparsify_activations,
    sparsify_weights,
)
from dst_jax.train.stages.hooks import Thresholding, choose_mask, no_mask
from dst_jax.train.stages.relaxation import Collapse, relaxation
from dst_jax.train.stages.remove_channels import (
    Distillation,
    RemoveUnits,
    remove_channels,
)
from dst_jax.train.stages.sparse_training import sparse_training
from dst_jax.train.unit_choice import UnitChoice

__all__ = [
    "Collapse",
    "Distillation",
    "GateTraining",
    "RemoveUnits",
    "Stage",
    "Thresholding",
    "UnitChoice",
    "choose_mask",
    "control",
    "initial",
    "no_mask",
    "pretrain",
    "relaxation",
    "remove_channels",
    "sparse_training",
    "sparsify_activations",
    "sparsify_weights",
]
