"""Weight sparsity: masks as pytrees, held and applied by Optax transforms."""

from dst_jax.pruning import (
    at_init,
    distributions,
    masks,
    packing,
    schedules,
    scores,
    selection,
    structures,
    updates,
)
from dst_jax.pruning.apply_mask import MaskState, apply_mask, get_mask, sparse_params
from dst_jax.pruning.flops import TrainingFlops, training_flops
from dst_jax.pruning.methods.gap import gap, gap_copies, gap_merge
from dst_jax.pruning.methods.gradual import (
    gradual_magnitude,
    gradual_movement,
    one_shot,
)
from dst_jax.pruning.methods.granet import granet
from dst_jax.pruning.methods.mest import mest
from dst_jax.pruning.methods.rigl import rigl, rigl_itop
from dst_jax.pruning.methods.set import set_
from dst_jax.pruning.methods.srigl import srigl
from dst_jax.pruning.methods.static import random, static
from dst_jax.pruning.protocol import Changes, Method, SparseState, Step
from dst_jax.pruning.registry import create, names, options
from dst_jax.pruning.statistics import statistics
from dst_jax.pruning.transform import method, sparsify

__all__ = [
    "Changes",
    "MaskState",
    "Method",
    "SparseState",
    "Step",
    "TrainingFlops",
    "apply_mask",
    "at_init",
    "create",
    "distributions",
    "gap",
    "gap_copies",
    "gap_merge",
    "get_mask",
    "gradual_magnitude",
    "gradual_movement",
    "granet",
    "masks",
    "mest",
    "method",
    "names",
    "one_shot",
    "options",
    "packing",
    "random",
    "rigl",
    "rigl_itop",
    "schedules",
    "scores",
    "selection",
    "set_",
    "sparse_params",
    "sparsify",
    "srigl",
    "static",
    "statistics",
    "structures",
    "training_flops",
    "updates",
]
