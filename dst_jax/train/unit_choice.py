"""Which units a stage removes: a score, how many, and under which bounds."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dst_jax import allocation, channels, checks, trees
from dst_jax.channels import Groups, Keep, Plan
from dst_jax.models.smaller import Smaller
from dst_jax.train.unit_scores import UnitScore, unit_score
from dst_jax.typing import Network, Rules, Variables

__all__ = ["COSTS", "SOLVERS", "UnitChoice"]

COSTS = ("multiplications", "parameters")
SOLVERS: dict[str, Any] = {
    "greedy": None,
    "exact": partial(allocation.exact, resolution=10_000),
}
"""Solvers of the knapsack by name; None is that of `channels.select`."""


@dataclass(frozen=True, kw_only=True)
class UnitChoice:
    """Which units are removed. Exactly one of the first three says how many.

    All numbers are those of the whole network, before anything was removed from it.

    Attributes:
      ratio: share of the units to remove, in [0, 1).
      threshold: units with a score below it go.
      budget: share of the cost that may be left, in (0, 1].
      cost: cost of the budget, "multiplications" or "parameters".
      score: a name of `channels.scores`, `module:attribute`, or a function.
      scope: "group", every group loses the same share, or "global": a ratio holds for
        all units together, a budget is shared out between groups by `solver`. That is
        meant for scores that add up, "taylor": norms of weights empty the groups whose
        units cost most.
      floor: units that every group keeps at least: a number, or a share. A group that
        has fewer keeps all.
      multiple_of: number that divides how many units a group keeps.
      solver: "greedy", "exact", `module:attribute`, or a function as those of
        `dst_jax.allocation`.
      rules: `((regex, bool), ...)` over names of groups, first match wins: whether
        units of a group may be removed; those that nothing matches may.
      split: as for `channels.groups`.

    >>> UnitChoice(ratio=0.5, budget=0.5)
    Traceback (most recent call last):
    ValueError: one of ('ratio', 'threshold', 'budget') must be given, got ['ratio', ...
    """

    ratio: float | None = None
    threshold: float | None = None
    budget: float | None = None
    cost: str = "multiplications"
    score: str | UnitScore = "l2"
    scope: str = "group"
    floor: int | float = 1
    multiple_of: int = 1
    solver: str | Callable[..., Any] = "greedy"
    rules: Rules = ()
    split: channels.SplitSide = "outer"

    def __post_init__(self) -> None:
        numbers = {n: getattr(self, n) for n in ("ratio", "threshold", "budget")}
        given = [name for name, value in numbers.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"one of {tuple(numbers)} must be given, got {given}")
        if self.ratio is not None:
            checks.fraction("ratio", self.ratio)
        if self.budget is not None and not 0 < self.budget <= 1:
            raise ValueError(f"budget must be in (0, 1], got {self.budget}")
        if self.threshold is not None:
            checks.at_least("threshold", self.threshold, -math.inf)
        checks.one_of("cost", self.cost, COSTS)
        checks.one_of("scope", self.scope, ("global", "group"))
        checks.one_of("split", self.split, ("outer", "inner"))
        if isinstance(self.floor, float):
            checks.share("floor", self.floor)
        checks.at_least("floor", self.floor, 0)
        checks.at_least("multiple_of", self.multiple_of, 1)
        object.__setattr__(self, "rules", tuple(map(tuple, self.rules)))
        unit_score(self.score)
        if self._solver() is not None and self.scope == "group":
            raise ValueError(f"solver is for scope 'global', got {self.solver!r}")

    def open_to(self, groups: Groups) -> Groups:
        """The groups of which units may be removed.

        Raises:
          ValueError: there are none, or a rule matches no group.

        >>> group = channels.Group("fc", 8, (), ())
        >>> found = Groups({"fc": group}, shapes={}, fixed={}, aux={})
        >>> UnitChoice(ratio=0.5, rules=[("fc", False)]).open_to(found)
        Traceback (most recent call last):
        ValueError: nothing can be removed: all of ('fc',) are left whole by rules
        """
        if not groups:
            why = "; ".join(
                f"{path} axis {axis}: {', '.join(map(str, reasons))}"
                for (path, axis), reasons in list(groups.fixed.items())[:3]
            )
            raise ValueError(
                f"nothing can be removed: the network has no groups of channels ({why})"
            )
        chosen = trees.select(dict.fromkeys(groups, 0), self.rules, default=True)
        names = [name for name, open_ in chosen.items() if open_]
        if not names:
            raise ValueError(
                f"nothing can be removed: all of {tuple(groups)} are left whole by"
                " rules"
            )
        return groups.only(names)

    def keep(
        self,
        network: Network,
        groups: Groups,
        scores: Mapping[str, ArrayLike],
        *,
        example: Any,
        done: float = 1.0,
    ) -> dict[str, np.ndarray]:
        """What is kept of the units that a network has.

        Args:
          network: a network; shapes will do.
          groups: its groups, from `groups_of`.
          scores: scores of the units, by group.
          example: an input, or its shape and dtype.
          done: share of the whole removal that is reached with this one, in (0, 1].

        Raises:
          ValueError: as `channels.select`.
        """
        open_ = self.open_to(groups)
        plan = network.model.plan if isinstance(network.model, Smaller) else None
        sizes = plan.sizes if plan else {n: group.size for n, group in groups.items()}
        options: dict[str, Any] = {
            "floor": {
                name: self._floor(sizes[name], open_[name].size) for name in open_
            },
            "multiple_of": self.multiple_of,
        }
        own = {name: scores[name] for name in open_}
        if self.ratio is not None:
            parts = [list(open_)] if self.scope == "global" else [[n] for n in open_]
            found = {}
            for names in parts:
                ratio = _share(self.ratio * done, names, sizes, open_)
                part = {name: own[name] for name in names}
                found |= channels.select(part, groups, ratio=ratio, **options)
            return found
        if self.threshold is not None:
            return channels.select(own, groups, threshold=self.threshold, **options)
        return channels.select(
            own,
            groups,
            budget=1 - (1 - float(self.budget or 0)) * done,
            cost=self._cost(network, groups, example),
            solver=self._solver(),
            scope=self.scope,
            **options,
        )

    def _floor(self, size: int, left: int) -> int:
        """Units that a group of a size keeps at least, of those that are left."""
        share = isinstance(self.floor, float)
        return min(math.ceil(self.floor * size) if share else int(self.floor), left)

    def _solver(self) -> Any:
        if not isinstance(self.solver, str):
            return self.solver
        return checks.lookup("solver", self.solver, SOLVERS)

    def _cost(
        self, network: Network, groups: Groups, example: Any
    ) -> Callable[[Keep], float]:
        """What is kept to its share of the cost of the whole network."""
        model, variables = network.model, dict(network.variables)
        plan = Plan.of(groups, {})
        if isinstance(model, Smaller):
            plan, variables = model.plan, model.whole_variables(variables)
            model = model.whole

        def forward(variables: Variables, x: Any) -> Any:
            return model(variables, x, train=False, rngs=None)[:2]

        relaxed = channels.relaxed(forward, plan.groups)
        which = COSTS.index(self.cost)

        whole = relaxed.exact({}, variables, example)[which]

        def cost(keep: Keep) -> float:
            kept = plan.then(keep).keep
            return relaxed.exact(kept, variables, example)[which] / whole

        return cost


def _share(
    target: float, names: list[str], sizes: Mapping[str, int], groups: Groups
) -> float:
    """The share of the units left that goes, so that a share of the whole has gone.

    >>> group = channels.Group("fc", 8, (), ())
    >>> found = Groups({"fc": group}, shapes={}, fixed={}, aux={})
    >>> int(_share(0.5, ["fc"], {"fc": 10}, found) * 8)
    3
    """
    whole = sum(sizes[name] for name in names)
    left = sum(groups[name].size for name in names)
    count = math.floor(target * whole + 1e-9) - (whole - left)
    # Between two numbers of units, so that none is lost to rounding.
    return (count + 0.5) / left if count > 0 else 0.0
