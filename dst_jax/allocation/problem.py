"""What all solvers check, and what a choice loses and costs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Problem", "checked", "summed"]


class Problem(NamedTuple):
    """Losses and costs, float64 (items, options), and the budget."""

    loss: np.ndarray
    cost: np.ndarray
    budget: float


def checked(loss: ArrayLike, cost: ArrayLike, budget: float) -> Problem:
    """The arrays as float64, if a choice within the budget exists.

    Raises:
      ValueError: the arrays differ in shape or have not two axes; a loss is not finite
        where the option exists, a cost is negative or NaN; an item has no option; or
        the cheapest choice costs more than the budget.

    >>> checked([[0.0, 1.0]], [[2.0, 0.0]], 1.0).budget
    1.0
    >>> checked([[0.0, 1.0]], [[2.0, 1.0]], 0.5)
    Traceback (most recent call last):
    ValueError: budget must be at least 1.0, the cost of the cheapest choice, got 0.5
    """
    losses, costs = np.asarray(loss, np.float64), np.asarray(cost, np.float64)
    if losses.ndim != 2 or losses.shape != costs.shape:
        raise ValueError(
            "loss and cost must have one shape (items, options), got"
            f" {losses.shape} and {costs.shape}"
        )
    _refuse_where(~(costs >= 0), costs, "cost must be >= 0")
    exists = np.isfinite(costs)
    for item in np.flatnonzero(~exists.any(axis=1))[:1]:
        raise ValueError(
            f"every item must have an option of finite cost, got {costs[item]} for"
            f" item {item}"
        )
    wrong = exists & ~np.isfinite(losses)
    _refuse_where(wrong, losses, "loss must be finite where the cost is")
    least = float(costs.min(axis=1).sum())
    if not budget >= least:
        raise ValueError(
            f"budget must be at least {least}, the cost of the cheapest choice, got"
            f" {budget}"
        )
    return Problem(np.where(exists, losses, np.inf), costs, float(budget))


def _refuse_where(wrong: np.ndarray, values: np.ndarray, message: str) -> None:
    for item, option in np.argwhere(wrong)[:1]:
        raise ValueError(
            f"{message}, got {values[item, option]} for option {option} of item {item}"
        )


def summed(values: np.ndarray, choice: np.ndarray) -> float:
    """The sum over items of the values of their options.

    >>> summed(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 0]))
    5.0
    """
    return float(np.take_along_axis(values, choice[:, None], axis=1).sum())
