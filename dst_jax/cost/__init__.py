"""Exact counts of the multiplications that sparsity saves, and what they are worth.

cost.count(fn)(params, batch)            multiplications left, by operation
cost.profile(fn)(params, batch)          where the zeros are, by operation
cost.estimate(profiles, accelerator)     cycles, traffic and energy on a machine
cost.surrogate(fn)(params, batch)        multiplications as a differentiable loss
cost.sensitivity(fn)(params, batch)      what a nonzero of each map costs
"""

from dst_jax.cost import accelerators, energy, formats
from dst_jax.cost.estimate import Estimate, OpEstimate, estimate, sweep
from dst_jax.cost.formats_table import storage, table
from dst_jax.cost.integers import Count
from dst_jax.cost.operations import OpCounts, accumulate, as_dict, drop, total
from dst_jax.cost.profiles import Geometry, OpProfile
from dst_jax.cost.profiling import profile
from dst_jax.cost.sensitivity import sensitivity
from dst_jax.cost.sensitivity_inputs import input_sensitivity
from dst_jax.cost.surrogate import soft_indicator, surrogate
from dst_jax.cost.synthetic import synthetic
from dst_jax.cost.transform import count

__all__ = [
    "Count",
    "Estimate",
    "Geometry",
    "OpCounts",
    "OpEstimate",
    "OpProfile",
    "accelerators",
    "accumulate",
    "as_dict",
    "count",
    "drop",
    "energy",
    "estimate",
    "formats",
    "input_sensitivity",
    "profile",
    "sensitivity",
    "soft_indicator",
    "storage",
    "surrogate",
    "sweep",
    "synthetic",
    "table",
    "total",
]
