"""How many units each group keeps under a budget, by a cost that is not linear."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dst_jax.channels.allowed_counts import AllowedCounts, largest

__all__ = ["BudgetSearch", "KeptUnits", "Solver"]

KeptUnits = dict[str, np.ndarray]
"""By name of a group, for every unit whether it is kept."""

Solver = Callable[..., "Sequence[int] | np.ndarray"]
"""`(loss, cost, *, budget) -> choice`, as those of `dst_jax.allocation`."""

_ROUNDS = 30


@dataclass(frozen=True)
class BudgetSearch:
    """Finds what to keep so that a function of it is at most a budget.

    Attributes:
      scores: scores by group.
      counts: what each group may keep.
      cost: function from what is kept to its cost.
      budget: what the kept units may cost.
    """

    scores: Mapping[str, np.ndarray]
    counts: Mapping[str, AllowedCounts]
    cost: Callable[[KeptUnits], float]
    budget: float

    def solved(self, solver: Solver | None) -> KeptUnits:
        """What is kept: the cost fits, and one step more in any group would not.

        Args:
          solver: decides between the groups at a linearised cost.

        Raises:
          ValueError: the least that may be kept costs more than the budget.
        """
        self._least_fits()
        at = [len(own.allowed) - 1 for own in self.counts.values()]
        if self._cost(at) > self.budget:
            at = self._linearised(at, solver or _greedy)
            at = self._within(at)
        return self._kept(self._filled(at))

    def same_share(self) -> KeptUnits:
        """What is kept if every group loses the same share, the least that fits.

        As many more units stay as the budget allows, those that gain most for their
        cost first.

        Raises:
          ValueError: the least that may be kept costs more than the budget.
        """
        self._least_fits()
        shares = sorted(
            {
                1 - n / own.allowed[-1]
                for own in self.counts.values()
                for n in own.allowed
            }
        )
        fitting = bisect_left(
            shares,
            True,
            key=lambda share: self._cost(self._without(share)) <= self.budget,
        )
        return self._kept(self._filled(self._without(shares[fitting])))

    def _without(self, share: float) -> list[int]:
        """What every group keeps without a share of its units."""
        kept = (own.without(share) for own in self.counts.values())
        return [
            own.allowed.index(number)
            for own, number in zip(self.counts.values(), kept, strict=True)
        ]

    def _least_fits(self) -> None:
        least = self._cost([0] * len(self.scores))
        if not least <= self.budget:
            raise ValueError(
                f"budget must be at least {least}, the cost of the least that may be"
                f" kept, got {self.budget}"
            )

    def _linearised(self, at: list[int], solver: Solver) -> list[int]:
        """Solved again at its own result, until that does not change."""
        seen: set[tuple[int, ...]] = set()
        while tuple(at) not in seen and len(seen) < _ROUNDS:
            seen.add(tuple(at))
            at = self._round(at, solver)
        return at

    def _round(self, at: list[int], solver: Solver) -> list[int]:
        rate = self._rates(at)
        options = max(len(own.allowed) for own in self.counts.values())
        loss = np.full((len(at), options), np.inf)
        cost = np.full((len(at), options), np.inf)
        for i, own in enumerate(self.counts.values()):
            loss[i, : len(own.allowed)] = own.loss
            cost[i, : len(own.allowed)] = rate[i] * np.array(own.allowed)
        spent = sum(cost[i, option] for i, option in enumerate(at))
        left = self.budget - self._cost(at) + spent
        cheapest = cost.min(axis=1).sum()
        return [int(i) for i in solver(loss, cost, budget=max(left, cheapest))]

    def _rates(self, at: list[int]) -> list[float]:
        """What one unit of every group costs, with the others as they are."""
        here = self._cost(at)
        rates = []
        for i, own in enumerate(self.counts.values()):
            to = at[i] - 1 if at[i] else min(1, len(own.allowed) - 1)
            step = own.allowed[to] - own.allowed[at[i]]
            other = [*at[:i], to, *at[i + 1 :]]
            rates.append((self._cost(other) - here) / step if step else 0.0)
        return [max(rate, 0.0) for rate in rates]

    def _within(self, at: list[int]) -> list[int]:
        """The steps down that lose least for their cost, until the cost fits."""
        while (here := self._cost(at)) > self.budget:
            steps = []
            for i, own in enumerate(self.counts.values()):
                if at[i]:
                    other = [*at[:i], at[i] - 1, *at[i + 1 :]]
                    saved = here - self._cost(other)
                    lost = own.loss[at[i] - 1] - own.loss[at[i]]
                    steps.append((lost / saved if saved > 0 else np.inf, i, other))
            at = min(steps)[2]
        return at

    def _filled(self, at: list[int]) -> list[int]:
        """The steps up that gain most for their cost, as long as one fits."""
        while True:
            here, steps = self._cost(at), []
            for i, own in enumerate(self.counts.values()):
                if at[i] + 1 < len(own.allowed):
                    other = [*at[:i], at[i] + 1, *at[i + 1 :]]
                    then = self._cost(other)
                    if then <= self.budget:
                        gain = own.loss[at[i]] - own.loss[at[i] + 1]
                        rate = gain / (then - here) if then > here else np.inf
                        steps.append((-rate, i, other))
            if not steps:
                return at
            at = min(steps)[2]

    def _cost(self, at: Sequence[int]) -> float:
        return float(self.cost(self._kept(at)))

    def _kept(self, at: Sequence[int]) -> KeptUnits:
        return {
            name: largest(own, self.counts[name].allowed[option])
            for (name, own), option in zip(self.scores.items(), at, strict=True)
        }


def _greedy(loss: np.ndarray, cost: np.ndarray, *, budget: float) -> list[int]:
    """From all options at their dearest, the steps down that lose least first."""
    at = [int(np.isfinite(row).sum()) - 1 for row in loss]
    spent = sum(cost[i, option] for i, option in enumerate(at))
    while spent > budget * (1 + 1e-12):
        steps = []
        for i, option in enumerate(at):
            if option:
                saved = cost[i, option] - cost[i, option - 1]
                lost = loss[i, option - 1] - loss[i, option]
                steps.append((lost / saved if saved > 0 else np.inf, i))
        if not steps:
            break
        i = min(steps)[1]
        spent -= cost[i, at[i]] - cost[i, at[i] - 1]
        at[i] -= 1
    return at
