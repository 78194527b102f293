"""Exact counts of the multiplications that sparsity saves."""

from dst_jax.cost.integers import Count
from dst_jax.cost.operations import OpCounts, accumulate, as_dict, drop, total
from dst_jax.cost.transform import count

__all__ = ["Count", "OpCounts", "accumulate", "as_dict", "count", "drop", "total"]
