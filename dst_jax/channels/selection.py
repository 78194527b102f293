"""Which units to keep: by a ratio, a threshold or a budget."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from dst_jax import checks
from dst_jax.channels.allowed_counts import AllowedCounts, largest
from dst_jax.channels.budget_search import BudgetSearch, KeptUnits, Solver
from dst_jax.channels.groups import Groups

__all__ = ["select"]


def select(
    scores: Mapping[str, ArrayLike],
    groups: Groups,
    *,
    ratio: float | None = None,
    threshold: float | None = None,
    budget: float | None = None,
    cost: Callable[[KeptUnits], float] | None = None,
    solver: Solver | None = None,
    scope: str = "global",
    floor: int | float | Mapping[str, int] = 1,
    multiple_of: int = 1,
) -> KeptUnits:
    """The units to keep, those with the highest scores.

    Exactly one of `ratio`, `threshold` and `budget` says how many. A group is never
    emptied, and keeps a multiple of `multiple_of` units, rounded up, or all of them.
    Groups that `scores` lacks are left out and stay whole.

    Args:
      scores: `{group: float[size]}`, from `channels.scores`.
      groups: from `channels.groups`.
      ratio: share of all units, or with scope "group" of each group's, that is removed.
      threshold: units with a score below it are removed.
      budget: what the kept units may cost.
      cost: function from what is kept to its cost, for `budget`: multiplications,
        parameters, bytes, cycles. It is linearised at what is kept and solved again,
        until the true cost is at most the budget and one step more in any group would
        exceed it.
      solver: function `(loss, cost, *, budget) -> choice`, such as
        `allocation.exact`, which decides how many units each group keeps; by default
        the units with the least score for their cost go first. That is meant for
        scores that add up, such as `scores.taylor`: norms of weights empty the groups
        whose units cost most.
      scope: whether a ratio holds for all units together, "global", or for each group
        on its own, "group"; with a budget, whether `solver` shares it out, or every
        group loses the same share.
      floor: units that every group keeps at least: a number, a share, or a number for
        each of some groups by name.
      multiple_of: number that divides how many a group keeps.

    Returns:
      `{group: bool[size]}`.

    Raises:
      ValueError: not exactly one of `ratio`, `threshold` and `budget` is given, one is
        out of range, a solver is given where groups lose the same share, a score is not
        finite or has another length than its group, or no choice meets the budget.

    >>> import jax.numpy as jnp
    >>> from dst_jax import channels
    >>> w = {"a": jnp.ones((1, 4)), "b": jnp.ones((4, 1))}
    >>> found = channels.groups(lambda w, x: x @ w["a"] @ w["b"])(w, jnp.ones((1, 1)))
    >>> select({"a": [3.0, 1.0, 4.0, 2.0]}, found, ratio=0.5)["a"].tolist()
    [True, False, True, False]
    """
    named = {"ratio": ratio, "threshold": threshold, "budget": budget}
    given = [name for name, value in named.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"one of {tuple(named)} must be given, got {given}")
    checks.one_of("scope", scope, ("global", "group"))
    if multiple_of < 1:
        raise ValueError(f"multiple_of must be at least 1, got {multiple_of}")
    values = _checked(scores, groups)
    counts = {
        name: AllowedCounts.of(
            x, floor=_floor(floor, name, x.size), multiple_of=multiple_of
        )
        for name, x in values.items()
    }
    if ratio is not None:
        checks.share("ratio", ratio)
        kept = _by_ratio(values, ratio, scope)
    elif threshold is not None:
        kept = {name: int((x >= threshold).sum()) for name, x in values.items()}
    else:
        if cost is None:
            raise ValueError("budget needs cost, a function of what is kept")
        search = BudgetSearch(values, counts, cost, float(budget or 0))
        if scope == "group":
            if solver is not None:
                raise ValueError(f"solver is for scope 'global', got {solver}")
            return search.same_share()
        return search.solved(solver)
    return {name: largest(x, counts[name].up(kept[name])) for name, x in values.items()}


def _checked(scores: Mapping[str, ArrayLike], groups: Groups) -> dict[str, np.ndarray]:
    """Scores as float64, in the order of the groups."""
    for name in scores:
        checks.one_of("group", name, groups)
    found: dict[str, np.ndarray] = {}
    for name, group in groups.items():
        if name not in scores:
            continue
        own = np.asarray(scores[name], np.float64)
        if own.shape != (group.size,):
            raise ValueError(
                f"scores[{name!r}] must have shape ({group.size},), got {own.shape}"
            )
        if not np.isfinite(own).all():
            raise ValueError(f"scores[{name!r}] must be finite, got {own}")
        found[name] = own
    return found


def _floor(floor: int | float | Mapping[str, int], name: str, size: int) -> int:
    """Units that a group keeps at least."""
    own = floor.get(name, 1) if isinstance(floor, Mapping) else floor
    least = math.ceil(own * size) if isinstance(own, float) else own
    if not own >= 0 or not 0 <= least <= size:
        raise ValueError(
            f"floor must be a share in [0, 1] or at most the {size} units of {name!r},"
            f" got {own}"
        )
    return max(least, 1)


def _by_ratio(
    scores: Mapping[str, np.ndarray], ratio: float, scope: str
) -> dict[str, int]:
    """How many units each group keeps."""
    if scope == "group":
        return {name: x.size - int(ratio * x.size) for name, x in scores.items()}
    every = np.concatenate(list(scores.values()))
    owner = np.repeat(np.arange(len(scores)), [x.size for x in scores.values()])
    kept = owner[np.argsort(every, kind="stable")[int(ratio * every.size) :]]
    counts = np.bincount(kept, minlength=len(scores))
    return dict(zip(scores, counts.tolist(), strict=True))
