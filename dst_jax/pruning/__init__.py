"""Weight sparsity: masks as pytrees, held and applied by Optax transforms."""

from dst_jax.pruning import (
    at_init,
    distributions,
    flops,
    masks,
    packing,
    schedules,
    scores,
    selection,
    structures,
    updates,
)
from dst_jax.pruning.apply_mask import (
    Effective,
    apply_mask,
    get_mask,
    keeps_dense,
    sparse_params,
)
from dst_jax.pruning.channel_removal import UnitsLeft, kept_units
from dst_jax.pruning.description import Description, method
from dst_jax.pruning.fan_in import scale_to_fan_in
from dst_jax.pruning.flops import TrainingFlops, training_flops
from dst_jax.pruning.mask_state import MaskState
from dst_jax.pruning.methods.ac_dc import ac_dc
from dst_jax.pruning.methods.auto_sparse import auto_sparse
from dst_jax.pruning.methods.chase import chase
from dst_jax.pruning.methods.constrained_l0 import constrained_l0
from dst_jax.pruning.methods.east import east
from dst_jax.pruning.methods.gap import gap, gap_copies, gap_merge
from dst_jax.pruning.methods.gradual import (
    gradual_magnitude,
    gradual_movement,
    one_shot,
)
from dst_jax.pruning.methods.granet import granet
from dst_jax.pruning.methods.halo import halo
from dst_jax.pruning.methods.mest import mest
from dst_jax.pruning.methods.rigl import rigl, rigl_itop
from dst_jax.pruning.methods.set import set_
from dst_jax.pruning.methods.sr_ste import sr_ste
from dst_jax.pruning.methods.srigl import srigl
from dst_jax.pruning.methods.static import random, static
from dst_jax.pruning.methods.ste import ste
from dst_jax.pruning.methods.threshold import threshold
from dst_jax.pruning.protocol import Changes, Method, SparseState, Step
from dst_jax.pruning.registry import create, describe, holds, names, options
from dst_jax.pruning.regrowth import KeptWeights, Searched, genetic_search, regrown
from dst_jax.pruning.statistics import (
    channel_densities,
    channel_statistics,
    statistics,
)
from dst_jax.pruning.transform import sparsify

__all__ = [
    "Changes",
    "Description",
    "Effective",
    "KeptWeights",
    "MaskState",
    "Method",
    "Searched",
    "SparseState",
    "Step",
    "TrainingFlops",
    "UnitsLeft",
    "ac_dc",
    "apply_mask",
    "at_init",
    "auto_sparse",
    "channel_densities",
    "channel_statistics",
    "chase",
    "constrained_l0",
    "create",
    "describe",
    "distributions",
    "east",
    "flops",
    "gap",
    "gap_copies",
    "gap_merge",
    "genetic_search",
    "get_mask",
    "gradual_magnitude",
    "gradual_movement",
    "granet",
    "halo",
    "holds",
    "keeps_dense",
    "kept_units",
    "masks",
    "mest",
    "method",
    "names",
    "one_shot",
    "options",
    "packing",
    "random",
    "regrown",
    "rigl",
    "rigl_itop",
    "scale_to_fan_in",
    "schedules",
    "scores",
    "selection",
    "set_",
    "sparse_params",
    "sparsify",
    "sr_ste",
    "srigl",
    "static",
    "statistics",
    "ste",
    "structures",
    "threshold",
    "training_flops",
    "updates",
]
