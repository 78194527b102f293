"""How gates on channels are trained: their form, and what pushes them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array

from dst_jax import checks, penalties, trees
from dst_jax.channels import Groups
from dst_jax.models.smaller import groups_of, labelled
from dst_jax.parametrisations import CarriedGates, GroupLike, gateable, gated
from dst_jax.pruning import hard_concrete
from dst_jax.train.gate_terms import COSTS, GateCost, GatePenalty, Ramp, undecided
from dst_jax.train.terms import Term
from dst_jax.typing import Network, Rules, Scalar

__all__ = ["PUSHES", "GateTraining", "gate_values"]

PUSHES = ("fence_sitters", "dais", "penalty", "hard_concrete")
_DROPPED = 0.05  # share of hard concrete gates that are 0 at first, as published


@dataclass(frozen=True, kw_only=True)
class GateTraining:
    """How gates on channels are trained.

        loss = task + strength |A/A_0 - target| + ejector ramp R(gates)

    Attributes:
      push: what decides gates: "fence_sitters", the penalty of that name; "dais", no
        penalty but a sigmoid whose slope rises to `stiffest`; "penalty", one of
        `dst_jax.penalties` on gates; "hard_concrete", no penalty but random gates that
        are often exactly 0, whose probabilities are counted.
      strength: k_struct, may be traced.
      target: share of the whole network's cost that is aimed at, in [0, 1].
      cost: what is counted, "multiplications" or "parameters".
      ejector: k_pb, strength of the penalty on gates, may be traced.
      sigma: how far from 0 fence-sitters are decided.
      sharpness: slope of the sigmoid.
      stiffest: the slope that "dais" ends with.
      ramp: epochs of a stage between which the ejector rises, or the slope; from the
        start on if the second is at most 0.
      penalty: penalty on gates, a function `(x, *, axis=None)` with its `options`.
      rules: `((regex, bool), ...)` over names of groups, first match wins: whether a
        group has gates; those that nothing matches have.

    Reference:
      Larson et al. 2023 (arXiv 2308.14605); values from the author's workflows.

    >>> GateTraining(push="dice")
    Traceback (most recent call last):
    ValueError: push must be one of ('fence_sitters', 'dais', ...), got 'dice'...
    """

    push: str = "fence_sitters"
    strength: Scalar = 0.3
    target: float = 0.0
    cost: str = "multiplications"
    ejector: Scalar = 1.0
    sigma: float = 1.0
    sharpness: float = 5.0
    stiffest: float = 30.0
    ramp: tuple[float, float] = (-1.0, 0.0)
    penalty: Callable[..., Array] = penalties.l1
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: Rules = ()

    def __post_init__(self) -> None:
        checks.one_of("push", self.push, PUSHES)
        checks.one_of("cost", self.cost, COSTS)
        checks.share("target", self.target)
        for name in ("strength", "ejector"):
            checks.at_least(name, getattr(self, name), 0)
        for name in ("sigma", "sharpness", "stiffest"):
            checks.positive(name, getattr(self, name))
        if not self.ramp[0] <= self.ramp[1] < math.inf:
            raise ValueError(f"ramp must be two epochs in order, got {self.ramp}")
        object.__setattr__(self, "rules", tuple(map(tuple, self.rules)))

    def gates(
        self, groups: Groups, *, steps_per_epoch: int = 1, seed: int = 0
    ) -> CarriedGates:
        """The gates on the groups of a network.

        A group that may not vanish always has a gate of 1.

        Args:
          groups: from `groups_of`.
          steps_per_epoch: for the ramp.
          seed: seed of random gates.

        Raises:
          ValueError: no group can be gated.

        >>> GateTraining().gates(Groups({}, shapes={}, fixed={}, aux={}))
        Traceback (most recent call last):
        ValueError: no gates are possible: no group of channels can be gated (...)
        """
        open_ = self._open(groups)
        needed = [name for name in open_ if groups[name].needed is not None]
        if self.push == "hard_concrete":
            first = math.log((1 - _DROPPED) / _DROPPED)
            random: dict[str, Any] = {"random": hard_concrete.gate, "seed": seed}
            found = gated(open_, start=first, prevent_collapse=needed, **random)
            return CarriedGates(found)
        sharpness: Any = self.sharpness
        if self.push == "dais":
            ends = {"low": self.sharpness, "high": self.stiffest}
            sharpness = self._ramp(steps_per_epoch, **ends)
        found = gated(open_, sharpness=sharpness, prevent_collapse=needed)
        return CarriedGates(found)

    def terms(
        self,
        gates: CarriedGates,
        groups: Groups,
        network: Network,
        example: Any,
        *,
        steps_per_epoch: int = 1,
    ) -> tuple[Term, ...]:
        """The terms of the loss over the trained tree of `gates`.

        Args:
          gates: from `gates`.
          groups: groups of the network.
          network: the network that is trained; shapes will do.
          example: an input, or its shape and dtype.
          steps_per_epoch: for the ramp.

        Raises:
          ValueError: the target is below what is left if every group keeps as little as
            it can.
        """
        random = self.push == "hard_concrete"
        cost = GateCost(
            gates.gated,
            groups,
            network,
            example,
            self.cost,
            hard_concrete.active_probability if random else None,
        )
        self._check_target(cost, groups)
        trained = partial(Term, over="trained")
        left = trained(
            cost, self.strength, {"target": self.target}, name=f"{self.cost}_left"
        )
        schedule = self._ramp(steps_per_epoch)
        if self.push == "fence_sitters":
            options: dict[str, Any] = {"sigma": self.sigma}
            push = (undecided, self.ejector, options)
        elif self.push == "penalty":
            penalty = GatePenalty(cost, self.penalty)
            push = (penalty, self.ejector, dict(self.options))
        else:
            return (left,)
        return (left, trained(*push, schedule=schedule, name="ejector"))

    def for_network(
        self, network: Network, example: Any, **common: Any
    ) -> tuple[CarriedGates, tuple[Term, ...]]:
        """The gates on a network, and the terms of its loss; see `gates` and `terms`.

        Args:
          network: the network that is trained; shapes will do.
          example: an input, or its shape and dtype.
          common: `steps_per_epoch` and `seed`.

        >>> import jax.numpy as jnp
        >>> def model(variables, x, *, train=False, rngs=None):
        ...     w = variables["params"]
        ...     return jax.nn.relu(x @ w["a"]) @ w["b"], {}, {}
        >>> params, x = {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 3))}, jnp.ones((1, 4))
        >>> found = GateTraining().for_network(Network(model, {"params": params}), x)
        >>> [term.name for term in found[1]]
        ['multiplications_left', 'ejector']
        """
        network = labelled(network, example)
        groups = groups_of(network, example)
        found = self.gates(groups, **common)
        common.pop("seed", None)
        return found, self.terms(found, groups, network, example, **common)

    def _open(self, groups: Groups) -> dict[str, GroupLike]:
        """The groups that have gates."""
        open_, refused = gateable(groups)
        if open_:
            chosen = trees.select(dict.fromkeys(groups, 0), self.rules, default=True)
            open_ = {name: group for name, group in open_.items() if chosen[name]}
        if not open_:
            why = [f"{name}: {reason}" for name, reason in refused.items()]
            if not groups:
                why = [
                    f"{path} axis {axis}: {', '.join(map(str, reasons))}"
                    for (path, axis), reasons in groups.fixed.items()
                ]
            raise ValueError(
                "no gates are possible: no group of channels can be gated"
                f" ({'; '.join(why[:3]) or 'the rules leave all of them out'})"
            )
        return open_

    def _check_target(self, cost: GateCost, groups: Groups) -> None:
        if self.target == 0:  # as little as possible
            return
        least = {
            name: np.arange(groups[name].size) < (groups[name].needed is not None)
            for name in self._open(groups)
        }
        share = cost.exact(least)
        if self.target < share:
            raise ValueError(
                f"target must be 0 or at least {share:.6g}, the share of the"
                f" {self.cost} that is left if every group keeps as little as it can,"
                f" got {self.target}"
            )

    def _ramp(self, steps_per_epoch: int, **ends: float) -> Ramp:
        start, full = (epoch * steps_per_epoch for epoch in self.ramp)
        return Ramp(start, full, **ends)


def gate_values(carried: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """By group, the gates that are folded into a network, from its variables.

    Args:
      carried: the collection that `CarriedGates` hands on.

    >>> gate_values({"conv1": {"s": np.ones(1), "folded": np.array([0.5])}})
    {'conv1': array([0.5])}
    """
    return {
        name: np.asarray(jax.device_get(x["folded"])) for name, x in carried.items()
    }
