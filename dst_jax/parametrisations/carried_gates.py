"""Gates that a network hands on, so that another stage goes on with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from dst_jax.parametrisations.base import StateLike, replicated
from dst_jax.parametrisations.gated import Gated
from dst_jax.typing import Mask, Params, Variables

__all__ = ["GATES", "CarriedGates"]

GATES = "gates"
"""The collection of a network's variables that has its gates."""


@dataclass(frozen=True)
class CarriedGates:
    """A `Gated` that goes on with the gates of the network that it starts from.

    What it hands on computes without gates: they are multiplied into the weights. Next
    to them is a collection `gates`, by group the parameters `s` and the gates `folded`
    into the weights, by which `init` divides them again.

    Attributes:
      gated: the gates.

    >>> from types import SimpleNamespace
    >>> from dst_jax.parametrisations import gated
    >>> made = [("conv", 1, (0, 1))]  # the columns of conv make the 2 channels
    >>> group = SimpleNamespace(size=2, members=made, roles=["produces"])
    >>> p = CarriedGates(gated({"conv": group}))
    >>> trained = p.init({"conv": jnp.full((1, 2), 4.0)})
    >>> trained["gates"]["conv"] = jnp.zeros(2)
    >>> weights, variables = p.finish(trained, ()), p.finish_variables(trained, ())
    >>> again = p.init(weights, variables=variables)
    >>> weights["conv"].tolist(), again["weights"]["conv"].tolist()
    ([[2.0, 2.0]], [[4.0, 4.0]])
    """

    gated: Gated

    def init(
        self,
        weights: Params,
        *,
        seed: ArrayLike = 0,
        variables: Variables | None = None,
    ) -> Params:
        """The tree to train: weights without the gates that are folded into them.

        Args:
          weights: a network's weights.
          seed: unused.
          variables: the network's other variables; groups whose gates they lack start
            anew.

        Raises:
          ValueError: a group has another size than its gates.
        """
        trained = self.gated.init(weights, seed=seed)
        carried: Mapping[str, Any] = (variables or {}).get(GATES, {})
        known = {name: carried[name] for name in trained["gates"] if name in carried}
        for name, own in known.items():
            if own["s"].shape != trained["gates"][name].shape:
                raise ValueError(
                    f"gates of group {name} must be {trained['gates'][name].size}, got"
                    f" {own['s'].size} in the network's variables"
                )
        inverse = {
            name: _inverse(known[name]["folded"]) if name in known else jnp.ones(s.size)
            for name, s in trained["gates"].items()
        }
        gates = {
            name: replicated(known[name]["s"], weights) if name in known else s
            for name, s in trained["gates"].items()
        }
        if not known:
            return trained
        return {"weights": self.gated.multiplied(weights, inverse), "gates": gates}

    def __call__(self, trained: Params, state: StateLike) -> Params:
        """The weights, times the gates."""
        return self.gated(trained, state)

    def finish(self, trained: Params, state: StateLike) -> Params:
        """The weights with the gates multiplied into them."""
        return self.gated.finish(trained, state)

    def finish_mask(self, mask: Mask) -> Mask:
        """The mask of the weights, from that of the trained tree.

        >>> from types import SimpleNamespace
        >>> from dst_jax.parametrisations import gated
        >>> made = [("conv", 1, (0, 1))]
        >>> group = SimpleNamespace(size=2, members=made, roles=["produces"])
        >>> p = CarriedGates(gated({"conv": group}))
        >>> p.finish_mask({"weights": {"conv": "mask of conv"}, "gates": None})
        {'conv': 'mask of conv'}
        """
        return self.gated.finish_mask(mask)

    def finish_variables(self, trained: Params, state: StateLike) -> dict[str, Any]:
        """The collection of gates that is handed on."""
        values = self.gated.gates(trained, state)
        gates = trained["gates"]
        return {GATES: {n: {"s": gates[n], "folded": values[n]} for n in gates}}


def _inverse(values: Float[Array, " channels"]) -> Float[Array, " channels"]:
    """Inverses; 1 where a gate is 0, behind which weights are 0 for good."""
    return jnp.where(values > 0, 1 / jnp.where(values > 0, values, 1), 1)
