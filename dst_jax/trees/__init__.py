"""Pytrees by path name, and their largest elements."""

from dst_jax.trees.exact_top_k import (
    top_k,
    top_k_along,
    top_k_by_pairs,
    top_k_of_groups,
)
from dst_jax.trees.paths import (
    check_arrays,
    count,
    instances,
    is_none,
    like,
    map_named,
    merge,
    named_leaves,
    only,
    path_name,
    select,
)

__all__ = [
    "check_arrays",
    "count",
    "instances",
    "is_none",
    "like",
    "map_named",
    "merge",
    "named_leaves",
    "only",
    "path_name",
    "select",
    "top_k",
    "top_k_along",
    "top_k_by_pairs",
    "top_k_of_groups",
]
