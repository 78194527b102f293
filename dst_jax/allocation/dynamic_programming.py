"""The best choice, by dynamic programming over integer costs."""

import math
from functools import reduce

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from dst_jax.allocation.problem import Problem, checked

__all__ = ["exact"]

MOST = 2**31
"""Entries of the table of choices, one for every item and level of the budget."""


def exact(
    loss: ArrayLike,
    cost: ArrayLike,
    *,
    budget: float,
    resolution: int | None = None,
) -> Int[np.ndarray, " items"]:
    """The choice that loses least.

    The multiple-choice knapsack problem by dynamic programming: time and memory grow
    with items times the budget, after costs are divided by their greatest common
    divisor.

    Args:
      loss: what every option loses, (items, options).
      cost: what every option costs, (items, options): integers unless `resolution` is
        given; `inf` where an item does not have the option.
      budget: what a choice may cost.
      resolution: number of levels into which the budget is divided; costs are rounded
        up to them, so that a choice never costs more than `budget` and is the best up
        to that rounding. None for integer costs.

    Raises:
      ValueError: costs are no integers and no `resolution` is given; the table would
        have more than 2^31 entries; no choice costs at most `budget`, also after
        rounding; or an array is not valid.

    >>> exact([[5.0, 0.0], [4.0, 0.0]], [[0, 3], [0, 2]], budget=4).tolist()
    [1, 0]
    """
    problem = checked(loss, cost, budget)
    costs, levels = _levels(problem, resolution)
    if len(costs) * (levels + 1) > MOST:
        raise ValueError(
            f"the budget of {levels} levels for {len(costs)} items is too fine: give a"
            f" resolution of at most {MOST // max(len(costs), 1)}"
        )
    best = np.zeros(levels + 1)
    taken = np.empty((len(costs), levels + 1), np.int32)
    for item in range(len(costs)):
        best = _add(problem.loss[item], costs[item], best, taken[item])
    if not np.isfinite(best[-1]):
        raise ValueError(
            f"budget {budget} does not suffice once costs are rounded up to"
            f" {levels} levels: give a larger resolution"
        )
    return _traced_back(taken, costs)


def _levels(problem: Problem, resolution: int | None) -> tuple[np.ndarray, int]:
    """Costs as integers, -1 where there is no option, and the budget."""
    exists = np.isfinite(problem.cost)
    if resolution is not None:
        if not (isinstance(resolution, int) and resolution >= 1):
            raise ValueError(f"resolution must be an integer >= 1, got {resolution!r}")
        unit = problem.budget / resolution or 1.0
        with np.errstate(over="ignore"):
            scaled = np.ceil(np.where(exists, problem.cost, 0) / unit - 1e-9)
        fits = exists & (scaled <= resolution)
        return np.where(fits, scaled, -1).astype(np.int64), resolution
    whole = np.where(exists, problem.cost, 0)
    if (whole != np.round(whole)).any():
        raise ValueError("cost must hold integers, or give a resolution")
    limit = min(problem.budget, whole.max(axis=1).sum())
    fits = exists & (whole <= limit)
    integers = np.where(fits, whole, -1).astype(np.int64)
    divisor = reduce(math.gcd, map(int, np.unique(integers[fits])), 0) or 1
    return np.where(fits, integers // divisor, -1), int(limit // divisor)


def _add(
    loss: np.ndarray, cost: np.ndarray, best: np.ndarray, taken: np.ndarray
) -> np.ndarray:
    """The least loss for every level of the budget with one item more."""
    result = np.full_like(best, np.inf)
    for option in np.flatnonzero(cost >= 0):
        price = int(cost[option])
        found = loss[option] + best[: len(best) - price]
        better = found < result[price:]
        result[price:][better] = found[better]
        taken[price:][better] = option
    return result


def _traced_back(taken: np.ndarray, costs: np.ndarray) -> np.ndarray:
    choice = np.empty(len(costs), np.int64)
    level = taken.shape[1] - 1
    for item in reversed(range(len(costs))):
        choice[item] = taken[item, level]
        level -= costs[item, choice[item]]
    return choice
