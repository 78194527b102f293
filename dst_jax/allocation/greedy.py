"""The largest decrease of the loss for its cost first."""

import heapq

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from dst_jax.allocation.problem import Problem, checked, summed

__all__ = ["exchanged", "greedy"]


def greedy(
    loss: ArrayLike, cost: ArrayLike, *, budget: float
) -> Int[np.ndarray, " items"]:
    """A choice that takes the largest decrease of the loss for its cost first.

    Every item begins with its cheapest option. Then the exchange with the largest
    decrease of the loss for its additional cost is made, as long as one fits.

    Args:
      loss: what every option loses, (items, options).
      cost: what every option costs, (items, options), at least 0; `inf` where an item
        does not have the option.
      budget: what a choice may cost.

    Returns:
      The option of every item. If all exchanges cost the same this is the best choice;
      in general it is not, see `exact`.

    Raises:
      ValueError: no choice costs at most `budget`, or an array is not valid.

    Reference:
      Aflalo et al. 2020 (arXiv 2002.08258), for channels by value over cost.

    >>> greedy([[3.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 2.0]], budget=3.0).tolist()
    [1, 0]
    """
    problem = checked(loss, cost, budget)
    return exchanged(problem, _cheapest(problem))


def exchanged(problem: Problem, choice: np.ndarray) -> Int[np.ndarray, " items"]:
    """A choice after all exchanges that gain and fit, the best rate first.

    No single exchange that lowers the loss fits into what is left of the budget.

    Args:
      problem: losses, costs and the budget.
      choice: a choice within the budget to begin with.

    >>> problem = checked([[3.0, 0.0], [1.0, 0.0]], [[0.0, 2.0], [0.0, 2.0]], 3.0)
    >>> exchanged(problem, np.array([0, 1])).tolist()
    [0, 1]
    """
    at = choice.tolist()
    spent = summed(problem.cost, choice)
    heap: list[_Exchange] = []
    for item in range(len(at)):
        _push(heap, problem, item, at[item], np.inf)
    while heap:
        _, item, before, option = heapq.heappop(heap)
        price = problem.cost[item, option] - problem.cost[item, before]
        if price <= problem.budget - spent:
            at[item], spent = option, spent + price
        _push(heap, problem, item, at[item], problem.budget - spent)
    return np.array(at, np.int64)


_Exchange = tuple[float, int, int, int]
"""Minus the decrease of the loss for its cost; item, its option before and after."""


def _cheapest(problem: Problem) -> np.ndarray:
    """The cheapest option of every item; among these the one that loses least."""
    cheapest = problem.cost == problem.cost.min(axis=1, keepdims=True)
    return np.where(cheapest, problem.loss, np.inf).argmin(axis=1)


def _push(
    heap: list[_Exchange], problem: Problem, item: int, option: int, left: float
) -> None:
    """Adds the best exchange of an item's option that fits, if there is one."""
    gain = problem.loss[item, option] - problem.loss[item]
    price = problem.cost[item] - problem.cost[item, option]
    useful = (gain > 0) & (price <= left) & np.isfinite(price)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        rate = np.where(useful, gain / np.maximum(price, 0), 0.0)
    to = int(rate.argmax())
    if rate[to] > 0:
        heapq.heappush(heap, (-float(rate[to]), item, option, to))
