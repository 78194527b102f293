"""Terms of a loss over gates on channels: what is left, and how undecided they are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dst_jax import channels, penalties
from dst_jax.channels import Groups, Plan, Relaxed
from dst_jax.models.smaller import Smaller
from dst_jax.parametrisations import Gated, State, fence_sitters
from dst_jax.typing import Network, Params, Scalar

__all__ = ["COSTS", "GateCost", "GatePenalty", "Ramp", "undecided"]

COSTS = ("multiplications", "parameters")


@dataclass(frozen=True)
class Ramp:
    """A factor that rises with the third power of the step, from 0 to 1.

        ((step - start) / (full - start))^3  between `start` and `full`

    Attributes:
      start: step up to which it is 0.
      full: step from which on it is 1.
      low, high: values in place of 0 and 1.

    Reference:
      Larson et al. 2023 (arXiv 2308.14605), the ejector's ramp in the author's code.

    >>> [float(Ramp(2, 6)(step)) for step in (0, 2, 4, 6, 9)]
    [0.0, 0.0, 0.125, 1.0, 1.0]
    """

    start: float
    full: float
    low: float = 0.0
    high: float = 1.0

    def __call__(self, count: Scalar) -> Float[Array, ""]:
        """The factor at a step."""
        step = jnp.asarray(count, jnp.float32)
        done = (step - self.start) / max(self.full - self.start, 1e-9)
        risen = jnp.where(step >= self.full, 1.0, jnp.clip(done, 0, 1) ** 3)
        return self.low + (self.high - self.low) * risen


@dataclass(frozen=True, eq=False)
class GateCost:
    """How far what gates leave of a cost is from a target: `|A/A_0 - target|`.

    `A` is the relaxed count of `channels.relaxed`, `A_0` that of the network before
    anything was removed from it. A term over the trained tree.

    Attributes:
      gated: the gates.
      groups: groups of the network that is trained.
      network: the network; shapes will do.
      example: an input, or its shape and dtype.
      cost: "multiplications" or "parameters".
      probability: how probable it is that a random gate is not 0; it is counted in
        place of the gate.

    Two are equal if they count the same of networks of the same model and shapes.

    Reference:
      Larson et al. 2023 (arXiv 2308.14605); what is counted is that of any trace.
    """

    gated: Gated
    groups: Groups
    network: Network
    example: Any
    cost: str = "multiplications"
    probability: Callable[[Array], Array] | None = None
    _plan: Plan = field(init=False, repr=False)
    _relaxed: Relaxed = field(init=False, repr=False)
    _whole: Any = field(init=False, repr=False)
    _count: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        model, variables = self.network.model, dict(self.network.variables)
        plan = Plan.of(self.groups, {})
        if isinstance(model, Smaller):
            plan, variables = model.plan, model.whole_variables(variables)
            model = model.whole

        def forward(variables: Any, x: Any) -> Any:
            return model(variables, x, train=False, rngs=None)[:2]

        relaxed = channels.relaxed(forward, plan.groups)
        set_ = partial(object.__setattr__, self)
        shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), variables
        )
        set_("_plan", plan)
        set_("_relaxed", relaxed)
        set_("_whole", (shapes, self.example))
        set_("_count", relaxed.exact({}, *self._whole)[COSTS.index(self.cost)])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GateCost) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> Any:
        shapes = jax.tree.map(
            lambda x: (x.shape, str(x.dtype)), (self._whole, self.network.params)
        )
        leaves, structure = jax.tree.flatten(shapes)
        return (
            *(self.gated, self.network.model, self.cost, self.probability),
            *(tuple(leaves), structure),
        )

    def __call__(
        self, trained: Params, *, target: Scalar = 0.0, step: Scalar = 0
    ) -> Float[Array, ""]:
        """The distance, a scalar of the trained tree.

        Args:
          trained: the tree of `Gated`.
          target: share of the cost that is wanted, in [0, 1].
          step: the stage's step, for a sharpness that follows it.
        """
        return jnp.abs(self.share(trained, step=step) - target)

    def share(self, trained: Params, *, step: Scalar = 0) -> Float[Array, ""]:
        """The relaxed share of the whole network's cost, a float32 scalar.

        >>> def model(variables, x, *, train=False, rngs=None):
        ...     w = variables["params"]
        ...     return jax.nn.relu(x @ w["a"]) @ w["b"], {}, {}
        >>> params, x = {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 3))}, jnp.ones((1, 4))
        >>> network = Network(model, {"params": params})
        >>> from dst_jax.train.gate_training import GateTraining
        >>> gates, (left, _) = GateTraining().for_network(network, x)
        >>> round(float(left.penalty.share(gates.init(params))), 5)  # one gate is 1
        1.0
        """
        which = COSTS.index(self.cost)
        left = self._relaxed(self._of_whole(self.values(trained, step)), *self._whole)
        return left[which] / self._count

    def exact(self, keep: channels.Keep) -> float:
        """The share of the whole network's cost once only this is kept of it.

        >>> def model(variables, x, *, train=False, rngs=None):
        ...     w = variables["params"]
        ...     return jax.nn.relu(x @ w["a"]) @ w["b"], {}, {}
        >>> params, x = {"a": jnp.ones((4, 2)), "b": jnp.ones((2, 3))}, jnp.ones((1, 4))
        >>> network = Network(model, {"params": params})
        >>> from dst_jax.train.gate_training import GateTraining
        >>> gates, (left, _) = GateTraining().for_network(network, x)
        >>> left.penalty.exact({"a": np.array([True, False])})
        0.5
        """
        which = COSTS.index(self.cost)
        kept = self._plan.then(keep).keep
        return self._relaxed.exact(kept, *self._whole)[which] / self._count

    def values(self, trained: Params, step: Scalar = 0) -> dict[str, Array]:
        """The gates as they are counted, by group."""
        if self.probability is not None:
            return {n: self.probability(s) for n, s in trained["gates"].items()}
        return self.gated.gates(trained, State(step=step))

    def _of_whole(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """Gates of the whole network: 0 for what is removed already."""
        whole = {}
        for name, kept in self._plan.keep.items():
            gates = jnp.asarray(kept, jnp.float32)
            if name in values:
                gates = gates.at[np.flatnonzero(kept)].set(values[name])
            whole[name] = gates
        return {**values, **whole}


@dataclass(frozen=True)
class GatePenalty:
    """The mean over all gates of a penalty of `dst_jax.penalties`.

    Attributes:
      cost: has the gates.
      penalty: `(x, *, axis=None) -> Array`.
    """

    cost: GateCost
    penalty: Callable[..., Array]

    def __call__(
        self, trained: Params, *, step: Scalar = 0, **options: Any
    ) -> Float[Array, ""]:
        """The mean, a scalar of the trained tree."""
        values = self.cost.values(trained, step)
        count = sum(value.size for value in values.values())
        penalty = partial(self.penalty, **options)
        return penalties.total(values, penalty, batched=False) / count


def undecided(trained: Params, *, sigma: Scalar = 1.0) -> Float[Array, ""]:
    """How undecided the gates of a trained tree are, see `fence_sitters`.

    Args:
      trained: the tree of `Gated`.
      sigma: how far from 0 a gate is decided, > 0.

    >>> undecided({"weights": {}, "gates": {"conv1": jnp.zeros(3)}}).item()
    1.0
    """
    return fence_sitters(trained["gates"], sigma=sigma)
