"""Exact counts of the multiplications that sparsity saves, and what they are worth.

    cost.count(fn)(params, batch)            multiplications left, by operation
    cost.input_zeros(fn)(params, batch)      zeros of the operands, by operation
    cost.profile(fn)(params, batch)          positions of the zeros, by operation
    cost.storage(profiles)                   bits in each storage format
    cost.estimate(profiles, accelerator)     cycles, traffic and energy
    cost.surrogate(fn)(params, batch)        multiplications as a differentiable loss
    cost.sensitivity(fn)(params, batch)      cost of one nonzero element of each map
    cost.training(loss)(params, batch)       multiplications of a whole training step
    cost.register(primitive, rule)           what a primitive of your own computes

The rooms of this wing:

    counting/       `count` and `profile`: exact integers and masks, for each
                    convolution and matrix product that a function executes
    storage/        bits that an array takes in each storage format
    accelerators/   one model of an accelerator a file; every number has its source
    estimates/      `estimate` and `sweep`: cycles, memory traffic and energy of a
                    profile on an accelerator
    gradients/      `surrogate` and `sensitivity`: counts as losses and penalties
    training/       `training`: products of the forward pass and of both gradients
    workloads/      masks of operands in files, problems for Timeloop and AccelForge
"""

from dst_jax.cost import accelerators, workloads
from dst_jax.cost.counting.count import count
from dst_jax.cost.counting.input_zeros import OperandZeros, input_zeros
from dst_jax.cost.counting.op_counts import (
    OpCounts,
    WeightCounts,
    accumulate,
    apart,
    as_dict,
    drop,
    total,
)
from dst_jax.cost.counting.op_profile import Geometry, OpProfile
from dst_jax.cost.counting.profile import profile
from dst_jax.cost.counting.synthetic import synthetic
from dst_jax.cost.estimates import energy
from dst_jax.cost.estimates.estimate import Estimate, OpEstimate, estimate, sweep
from dst_jax.cost.gradients.input_sensitivity import input_sensitivity
from dst_jax.cost.gradients.sensitivity import sensitivity
from dst_jax.cost.gradients.surrogate import soft_indicator, surrogate
from dst_jax.cost.storage import formats
from dst_jax.cost.storage.format_table import Storage, smallest, storage, table
from dst_jax.cost.training.step_counts import StepCounts, TrainingCounts
from dst_jax.cost.training.training import training
from dst_jax.jaxprs.calls import register
from dst_jax.jaxprs.exact_integers import Count
from dst_jax.jaxprs.values import Uncounted

__all__ = [
    "Count",
    "Estimate",
    "Geometry",
    "OpCounts",
    "OpEstimate",
    "OpProfile",
    "OperandZeros",
    "StepCounts",
    "Storage",
    "TrainingCounts",
    "Uncounted",
    "WeightCounts",
    "accelerators",
    "accumulate",
    "apart",
    "as_dict",
    "count",
    "drop",
    "energy",
    "estimate",
    "formats",
    "input_sensitivity",
    "input_zeros",
    "profile",
    "register",
    "sensitivity",
    "smallest",
    "soft_indicator",
    "storage",
    "surrogate",
    "sweep",
    "synthetic",
    "table",
    "total",
    "training",
    "workloads",
]
