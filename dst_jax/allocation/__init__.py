"""One option for every item under a budget: pure functions over two arrays.

    choice = allocation.greedy(loss, cost, budget=0.5 * cost.max(1).sum())

`loss` and `cost` have the shape (items, options): what an option loses and costs. The
result is the option of every item, int array (items,). An option that an item does not
have costs `inf`.
"""

from dst_jax.allocation.combined_items import Combined, combined, hull
from dst_jax.allocation.dynamic_programming import exact
from dst_jax.allocation.greedy import greedy
from dst_jax.allocation.lagrangian import Front, Lagrangian, front, lagrangian

__all__ = [
    "Combined",
    "Front",
    "Lagrangian",
    "combined",
    "exact",
    "front",
    "greedy",
    "hull",
    "lagrangian",
]
