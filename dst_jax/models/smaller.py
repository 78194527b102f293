"""The model of a network from which units have been removed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Array

from dst_jax import channels
from dst_jax.channels import Groups, Plan
from dst_jax.typing import Model, Network, Variables

__all__ = ["Smaller", "groups_of", "smaller_network"]


@dataclass(frozen=True)
class Smaller:
    """A model on smaller variables: the replayed trace of the whole one.

    Activation maps and updated statistics have the names that they have in the whole
    model, and what is kept of their positions. Two are equal if what they are made of
    is; replays never nest, see `smaller_network`.

    Attributes:
      whole: the model from which units have been removed.
      plan: what is kept of it.
      groups: the groups of the whole model, `aux` by name of the activation map.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from dst_jax.models.linen import Linen
    >>> whole, x = Linen(nn.Sequential([nn.Dense(4), nn.Dense(2)])), jnp.ones((1, 3))
    >>> network = Network(whole, whole.init(jax.random.key(0), x))
    >>> found = groups_of(network, x)
    >>> small = smaller_network(network, found, {"layers_0": jnp.arange(4) < 3})
    >>> small.params["layers_0"]["kernel"].shape, small.model.plan.kept
    ((3, 3), {'layers_0': (0, 1, 2)})
    """

    whole: Model
    plan: Plan
    groups: Groups = field(compare=False, repr=False)

    @property
    def plans(self) -> tuple[dict[str, Any], ...]:
        """The plan as the record of a run has it."""
        return (self.plan.to_json(),)

    @property
    def left(self) -> Groups:
        """The groups of what is left."""
        return self.groups.after(self.plan.keep)

    def init(self, key: Array, example: Array) -> dict[str, Any]:
        """Fresh variables of the smaller shapes: those that the whole model would have,
        without what is removed.

        Raises:
          ValueError: the whole model does not say how it is initialised.
        """
        init = getattr(self.whole, "init", None)
        if init is None:
            raise ValueError(f"{self.whole!r} has no init(key, example)")
        return self.plan.remove(dict(init(key, example)))

    def __call__(
        self,
        variables: Variables,
        x: Array,
        *,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
    ) -> tuple[Any, Mapping[str, Array], Variables]:
        """The outputs, the activation maps and the updated collections."""

        def whole(variables: Variables, x: Array) -> tuple[Any, Any]:
            outputs, *rest = self.whole(variables, x, train=train, rngs=rngs)
            return outputs, rest

        small = channels.smaller(whole, self.groups, self.plan.keep, has_aux=True)
        outputs, (maps, updated) = small(dict(variables), x)
        return outputs, maps, updated


def groups_of(
    network: Network, example: Any, *, split: channels.SplitSide = "outer"
) -> Groups:
    """The groups of a network, from its trace in evaluation mode.

    Of a network from which units have been removed, those of what is left.

    Args:
      network: a network; shapes will do.
      example: an input, or its shape and dtype.
      split: as for `channels.groups`.

    Returns:
      The groups, `aux` by name of the activation map.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from dst_jax.models.linen import Linen
    >>> model, x = Linen(nn.Sequential([nn.Dense(4), nn.Dense(2)])), jnp.ones((1, 3))
    >>> list(groups_of(Network(model, model.init(jax.random.key(0), x)), x))
    ['layers_0']
    """
    if isinstance(network.model, Smaller):
        return network.model.left

    def forward(variables: Variables, x: Array) -> tuple[Any, Any]:
        return network.model(variables, x, train=False, rngs=None)[:2]

    found = channels.groups(forward, has_aux=True, split=split)
    return found(dict(network.variables), example)


def smaller_network(
    network: Network, groups: Groups, keep: "channels.Keep | Plan"
) -> Network:
    """A network without the units that are not kept: of its variables and its mask.

    Args:
      network: the network; one from which units have been removed has one plan in the
        end, in the coordinates of the whole.
      groups: from `groups_of`.
      keep: `{group: bool[size]}`, or a plan of a whole network.

    Raises:
      ValueError: as `channels.remove`.

    >>> import flax.linen as nn, jax, jax.numpy as jnp
    >>> from dst_jax.models.linen import Linen
    >>> model, x = Linen(nn.Sequential([nn.Dense(4), nn.Dense(2)])), jnp.ones((1, 3))
    >>> network = Network(model, model.init(jax.random.key(0), x))
    >>> for size in (4, 3):
    ...     keep = {"layers_0": jnp.arange(size) > 0}
    ...     network = smaller_network(network, groups_of(network, x), keep)
    >>> network.model.plan.kept, network.model.whole == model
    ({'layers_0': (2, 3)}, True)
    """
    chosen = keep.keep if isinstance(keep, Plan) else keep
    model = network.model
    if isinstance(model, Smaller):
        small = Smaller(model.whole, model.plan.then(chosen), model.groups)
    else:
        small = Smaller(model, Plan.of(groups, chosen), groups)
    both = dict(network.variables), network.mask
    return Network(small, *channels.remove(both, groups, chosen))
