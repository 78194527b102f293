"""The best choice, by dynamic programming over integer costs."""

import math

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
    resolution: int | np.integer | None = None,
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
      ValueError: costs are no integers and no `resolution` is given; `resolution` is no
        integer of at least 1; the table would have more than 2^31 entries; no choice
        costs at most `budget`, also after rounding; or an array is not valid.

    >>> exact([[5.0, 0.0], [4.0, 0.0]], [[0, 3], [0, 2]], budget=4).tolist()
    [1, 0]
    """
    problem = checked(loss, cost, budget)
    costs, levels = _levels(problem, resolution)
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


def _levels(
    problem: Problem, resolution: int | np.integer | None
) -> tuple[np.ndarray, int]:
    """Costs as integers, -1 where there is no option, and the budget."""
    exists = np.isfinite(problem.cost)
    whole = np.where(exists, problem.cost, 0)
    if resolution is not None:
        known = isinstance(resolution, int | np.integer) and resolution is not True
        if not known or resolution < 1:
            raise ValueError(f"resolution must be an integer >= 1, got {resolution!r}")
        _refuse_many(len(whole), int(resolution))
        scaled = _rounded_up(whole, problem.budget / resolution)
        fits = exists & (scaled <= resolution)
        return np.where(fits, scaled, -1).astype(np.int64), int(resolution)
    if (whole != np.round(whole)).any():
        raise ValueError("cost must hold integers, or give a resolution")
    # In Python's integers: float64 has larger ones than int64.
    limit = sum(map(int, whole.max(axis=1)))
    if problem.budget < limit:
        limit = int(problem.budget)
    fits = exists & (whole <= problem.budget)
    prices = [int(x) for x in whole[fits]]
    divisor = math.gcd(*prices) or 1
    _refuse_many(len(whole), limit // divisor)
    costs = np.full(whole.shape, -1, np.int64)
    costs[fits] = [price // divisor for price in prices]
    return costs, limit // divisor


def _refuse_many(items: int, levels: int) -> None:
    if items * (levels + 1) > MOST:
        raise ValueError(
            f"the budget of {levels} levels for {items} items is too fine: give a"
            f" resolution of at most {MOST // items - 1}"
        )


def _rounded_up(cost: np.ndarray, unit: float) -> np.ndarray:
    """The least numbers of units that are no less than the costs."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = np.ceil(cost / unit)
        # A quotient may be rounded past an integer, to either side.
        found = np.where(found * unit < cost, found + 1, found)
        found = np.where((found - 1) * unit >= cost, found - 1, found)
    return np.where(cost == 0, 0.0, found)


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
