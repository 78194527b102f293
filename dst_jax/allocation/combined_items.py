"""Several items as one, whose options are sums of theirs."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from dst_jax.allocation.problem import checked

__all__ = ["Combined", "combined", "hull"]


class Combined(NamedTuple):
    """The options of several items together, from the cheapest to the dearest.

    Attributes:
      loss: what every option loses, (options,).
      cost: what every option costs, (options,).
      choices: the option of every item that it stands for, (options, items).
    """

    loss: Float[np.ndarray, " options"]
    cost: Float[np.ndarray, " options"]
    choices: Int[np.ndarray, "options items"]


def hull(loss: ArrayLike, cost: ArrayLike) -> Int[np.ndarray, " kept"]:
    """The options of one item on the lower convex hull of losses over costs.

    They are those that some price on the cost makes the best, in the order of their
    costs: from the cheapest option to the one that loses least.

    Args:
      loss: what every option loses, (options,).
      cost: what every option costs, (options,); `inf` for one that is not there.

    Raises:
      ValueError: the arrays are not valid, as in `greedy`.

    >>> hull([4.0, 3.5, 1.0, 2.0, 0.0], [0.0, 1.0, 2.0, 3.0, 4.0]).tolist()
    [0, 2, 4]
    """
    losses, costs, _ = checked(np.array([loss]), np.array([cost]), np.inf)
    row, price = losses[0], costs[0]
    kept: list[int] = []
    for i in np.lexsort((row, price)):
        if not np.isfinite(price[i]):
            break
        if kept and row[i] >= row[kept[-1]]:
            continue
        while len(kept) > 1 and _above(row, price, kept[-2], kept[-1], int(i)):
            kept.pop()
        kept.append(int(i))
    return np.array(kept, np.int64)


def combined(
    losses: Sequence[ArrayLike] | np.ndarray, costs: Sequence[ArrayLike] | np.ndarray
) -> Combined:
    """The options of several items together that lie on the hull of their sums.

    Args:
      losses: for every item what its options lose, (options,).
      costs: for every item what its options cost, (options,).

    Raises:
      ValueError: there is no item, or the arrays are not valid.

    >>> both = combined([[5.0, 0.0], [4.0, 0.0]], [[0.0, 3.0], [0.0, 2.0]])
    >>> both.loss.tolist(), both.cost.tolist(), both.choices.tolist()
    ([9.0, 5.0, 0.0], [0.0, 2.0, 5.0], [[0, 0], [0, 1], [1, 1]])
    """
    if not len(losses) or len(losses) != len(costs):
        raise ValueError(
            "losses and costs must be of the same items, at least one, got"
            f" {len(losses)} and {len(costs)}"
        )
    whole = Combined(np.zeros(1), np.zeros(1), np.zeros((1, 0), np.int64))
    for loss, cost in zip(losses, costs, strict=True):
        whole = _with(whole, np.asarray(loss, np.float64), np.asarray(cost, np.float64))
    return whole


def _with(whole: Combined, loss: np.ndarray, cost: np.ndarray) -> Combined:
    own = hull(loss, cost)
    first, second = np.meshgrid(np.arange(len(whole.loss)), own, indexing="ij")
    first, second = first.ravel(), second.ravel()
    losses, costs = whole.loss[first] + loss[second], whole.cost[first] + cost[second]
    kept = hull(losses, costs)
    choices = np.column_stack([whole.choices[first], second])
    return Combined(losses[kept], costs[kept], choices[kept])


def _above(loss: np.ndarray, cost: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether b is on or above the line from a to c, where a is cheapest."""
    there = (loss[b] - loss[a]) * (cost[c] - cost[a])
    return bool(there >= (loss[c] - loss[a]) * (cost[b] - cost[a]))
