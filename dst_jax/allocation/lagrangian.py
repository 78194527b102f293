"""A choice from a price on the cost, and how far it can be from the best one."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int
from numpy.typing import ArrayLike

from dst_jax.allocation.problem import Problem, checked, summed

__all__ = ["Lagrangian", "lagrangian"]


class Lagrangian(NamedTuple):
    """What `lagrangian` finds.

    Attributes:
      choice: option of every item.
      gap: its loss minus the dual bound: at most this much is lost against the best
        choice.
      price: loss that one unit of the cost is worth.
    """

    choice: Int[np.ndarray, " items"]
    gap: float
    price: float


def lagrangian(loss: ArrayLike, cost: ArrayLike, *, budget: float) -> Lagrangian:
    """A choice that minimises loss + price * cost, at the lowest price that fits.

    The price is found by bisection. The choice is the best one for its own cost; for
    the budget it is the best if the gap is 0, which holds on the convex hull of losses
    over costs.

    Args:
      loss: what every option loses, (items, options).
      cost: what every option costs, (items, options), at least 0; `inf` where an item
        does not have the option.
      budget: what a choice may cost.

    Raises:
      ValueError: no choice costs at most `budget`, or an array is not valid.

    Reference:
      Everett 1963, "Generalized Lagrange multiplier method".

    >>> found = lagrangian([[5.0, 0.0], [4.0, 0.0]], [[0, 3], [0, 2]], budget=3)
    >>> found.choice.tolist(), found.gap <= 5.0
    ([0, 1], True)
    """
    problem = checked(loss, cost, budget)
    free = _cheapest_at(problem, 0.0)
    if summed(problem.cost, free) <= problem.budget:
        return Lagrangian(free, 0.0, 0.0)
    low, high = 0.0, 1.0
    while summed(problem.cost, _cheapest_at(problem, high)) > problem.budget:
        low, high = high, high * 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        fits = summed(problem.cost, _cheapest_at(problem, middle)) <= problem.budget
        low, high = (low, middle) if fits else (middle, high)
    choice = _cheapest_at(problem, high)
    lost, spent = summed(problem.loss, choice), summed(problem.cost, choice)
    bound = lost + high * (spent - problem.budget)  # the dual function at this price
    return Lagrangian(choice, lost - bound, high)


def _cheapest_at(problem: Problem, price: float) -> np.ndarray:
    """The options that minimise loss + price * cost; of equal ones the cheaper."""
    exists = np.isfinite(problem.cost)
    total = problem.loss + price * np.where(exists, problem.cost, 0)
    least = total == total.min(axis=1, keepdims=True)
    return np.where(least, problem.cost, np.inf).argmin(axis=1)
