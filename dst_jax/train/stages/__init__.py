"""Systems as lists of stages, one file for each."""

from dst_jax.train.gate_training import GateTraining
from dst_jax.train.stage import Stage
from dst_jax.train.stages.choose_patterns import choose_patterns
from dst_jax.train.stages.dual_sparse import (
    control,
    dual_sparse,
    initial,
    pretrain,
    sparsify_activations,
    sparsify_weights,
)
from dst_jax.train.stages.east_parts import (
    PhaseOut,
    WithDyReLU,
    east,
    plain_rectifiers,
    trained_sparsity,
)
from dst_jax.train.stages.hooks import (
    Patterning,
    RemoveUnread,
    Thresholding,
    choose_mask,
    no_mask,
)
from dst_jax.train.stages.post_training import (
    Densities,
    calibration,
    post_training,
    search_densities,
)
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
    "Densities",
    "Distillation",
    "GateTraining",
    "Patterning",
    "PhaseOut",
    "RemoveUnits",
    "RemoveUnread",
    "Stage",
    "Thresholding",
    "UnitChoice",
    "WithDyReLU",
    "calibration",
    "choose_mask",
    "choose_patterns",
    "control",
    "dual_sparse",
    "east",
    "initial",
    "no_mask",
    "plain_rectifiers",
    "post_training",
    "pretrain",
    "relaxation",
    "remove_channels",
    "search_densities",
    "sparse_training",
    "sparsify_activations",
    "sparsify_weights",
    "trained_sparsity",
]
