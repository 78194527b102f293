"""Choices from a price on the cost, and how far they can be from the best ones."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from dst_jax.allocation.greedy import exchanged
from dst_jax.allocation.problem import Problem, checked, summed

__all__ = ["Front", "Lagrangian", "front", "lagrangian"]

_BISECTIONS = 200


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


class Front(NamedTuple):
    """What `front` finds, one row per budget.

    Attributes:
      choice: option of every item, (budgets, items).
      loss: what the choice loses.
      cost: what the choice costs.
      gap: its loss minus the dual bound.
      price: loss that one unit of the cost is worth.
    """

    choice: Int[np.ndarray, "budgets items"]
    loss: Float[np.ndarray, " budgets"]
    cost: Float[np.ndarray, " budgets"]
    gap: Float[np.ndarray, " budgets"]
    price: Float[np.ndarray, " budgets"]


def lagrangian(loss: ArrayLike, cost: ArrayLike, *, budget: float) -> Lagrangian:
    """A choice that minimises loss + price * cost, at the lowest price that fits.

    The price is found by bisection. What the choice leaves of the budget is spent on
    single exchanges, so that no exchange that lowers the loss fits any more. The choice
    is the best if the gap is 0, which holds at the costs of the points on the convex
    hull of losses over costs.

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
    found = front(loss, cost, budgets=[budget])
    return Lagrangian(found.choice[0], float(found.gap[0]), float(found.price[0]))


def front(loss: ArrayLike, cost: ArrayLike, *, budgets: ArrayLike) -> Front:
    """The choice of `lagrangian` for every budget, by one bisection of all prices.

    Args:
      loss: what every option loses, (items, options).
      cost: what every option costs, (items, options), as for `lagrangian`.
      budgets: what the choices may cost, (budgets,).

    Raises:
      ValueError: `budgets` has not one axis or is empty, no choice costs at most one of
        them, or an array is not valid.

    >>> found = front([[5.0, 0.0], [4.0, 0.0]], [[0, 3], [0, 2]], budgets=[0, 2, 5])
    >>> found.choice.tolist(), found.loss.tolist(), found.gap.tolist()
    ([[0, 0], [0, 1], [1, 1]], [9.0, 5.0, 0.0], [0.0, 0.0, 0.0])
    """
    limits = np.asarray(budgets, np.float64)
    if limits.ndim != 1 or not limits.size:
        raise ValueError(
            f"budgets must have one axis and a budget, got the shape {limits.shape}"
        )
    # NaN is the least here, and is refused.
    problem = checked(loss, cost, float(limits.min()))
    prices = _prices(problem, limits)
    priced = _cheapest_at(problem, prices)
    lost, spent = _sums(problem.loss, priced), _sums(problem.cost, priced)
    left = np.where(prices > 0, limits - spent, 0.0)
    unspent = np.multiply(prices, left, out=np.zeros(limits.shape), where=left > 0)
    bound = np.maximum(lost - unspent, problem.loss.min(axis=1).sum())
    filled = [
        exchanged(problem._replace(budget=float(limit)), row)
        for limit, row in zip(limits, priced, strict=True)
    ]
    choice = np.stack(filled)
    lost, spent = _sums(problem.loss, choice), _sums(problem.cost, choice)
    return Front(choice, lost, spent, np.maximum(lost - bound, 0.0), prices)


def _prices(problem: Problem, limits: np.ndarray) -> np.ndarray:
    """The lowest price for every budget at which the cheapest choice fits it."""

    def fits(prices: np.ndarray) -> np.ndarray:
        return _sums(problem.cost, _cheapest_at(problem, prices)) <= limits

    low, high = np.zeros(limits.shape), np.zeros(limits.shape)
    while not (reached := fits(high)).all():
        low = np.where(reached, low, high)
        with np.errstate(over="ignore"):
            high = np.where(reached, high, np.maximum(2 * high, 1.0))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        reached = fits(middle)
        low, high = np.where(reached, low, middle), np.where(reached, middle, high)
    return high


def _cheapest_at(problem: Problem, prices: np.ndarray) -> np.ndarray:
    """By price, the options with least loss + price * cost; of equal ones the cheaper.

    At the price `inf`, which no float needs to reach, these are the cheapest.

    Returns an array (prices, items).
    """
    exists = np.isfinite(problem.cost)
    finite = np.isfinite(prices)
    price = np.where(finite, prices, 0.0)[:, None, None]
    with np.errstate(over="ignore"):
        total = problem.loss + price * np.where(exists, problem.cost, 0)
    total = np.where(finite[:, None, None], total, problem.cost)
    least = total == total.min(axis=-1, keepdims=True)
    return np.where(least, problem.cost, np.inf).argmin(axis=-1)


def _sums(values: np.ndarray, choices: np.ndarray) -> np.ndarray:
    return np.array([summed(values, choice) for choice in choices])
