"""The model of a network from which units have been removed."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
from jaxtyping import Array

from dst_jax import channels, trees
from dst_jax.channels import Groups, Plan
from dst_jax.typing import Model, Network, Variables

__all__ = ["Smaller", "groups_of", "labelled", "smaller_network"]


def _no_groups() -> Groups:
    return Groups({}, shapes={}, fixed={}, aux={})


@dataclass(frozen=True)
class Smaller:
    """A model on smaller variables: the replayed trace of the whole one.

    Activation maps and updated statistics have the names that they have in the whole
    model, and what is kept of their positions. Two are equal if what they are made of
    is; replays never nest, see `smaller_network`.

    Attributes:
      whole: the model from which units have been removed.
      plan: what is kept of it.
      groups: the groups of the whole model, `aux` by name of the activation map. Those
        of the plan, without `aux`, if they are not given.

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
    groups: Groups = field(default_factory=_no_groups, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.groups.shapes:
            object.__setattr__(self, "groups", self.plan.groups)

    @property
    def plans(self) -> tuple[dict[str, Any], ...]:
        """The plan as the record of a run has it."""
        return (self.plan.to_json(),)

    @property
    def left(self) -> Groups:
        """The groups of what is left."""
        return self.groups.after(self.plan.keep)

    def whole_variables(self, variables: Variables) -> dict[str, Any]:
        """The shapes that variables had before anything was removed."""

        def of(path: str, leaf: Any) -> jax.ShapeDtypeStruct:
            shape = self.plan.shapes.get(path, leaf.shape)
            return jax.ShapeDtypeStruct(shape, leaf.dtype)

        return trees.map_named(of, dict(variables))

    def init(self, key: Array, example: Array) -> dict[str, Any]:
        """Fresh variables: those of the whole model without what is removed.

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
        """The outputs, the activation maps and the updated collections.

        A map that has lost all of its channels, as in a branch that is gone, is no
        longer among the maps.
        """

        def whole(variables: Variables, x: Array) -> tuple[Any, Any]:
            outputs, *rest = self.whole(variables, x, train=train, rngs=rngs)
            return outputs, rest

        plan = self.plan
        small = channels.smaller(whole, plan.groups, plan.keep, has_aux=True)
        outputs, (maps, updated) = small(dict(variables), x)
        left = OrderedDict((name, m) for name, m in maps.items() if all(m.shape[1:]))
        return outputs, left, updated


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
        model = labelled(network, example).model
        assert isinstance(model, Smaller)
        return model.left

    def forward(variables: Variables, x: Array) -> tuple[Any, Any]:
        return network.model(variables, x, train=False, rngs=None)[:2]

    found = channels.groups(forward, has_aux=True, split=split)
    return found(dict(network.variables), example)


def labelled(network: Network, example: Any) -> Network:
    """A network whose model knows what is kept of its activation maps.

    A network that was loaded, and so has no `aux` in its model's groups, is traced.

    Args:
      network: any network; one of which nothing has been removed is returned as it is.
      example: an input, or its shape and dtype.

    >>> labelled(Network(print, {"params": {}}), None).model is print
    True
    """
    model = network.model
    if not isinstance(model, Smaller) or model.groups.aux:
        return network
    whole = Network(model.whole, model.whole_variables(network.variables))
    found = groups_of(whole, example, split=model.plan.split)
    return network._replace(model=replace(model, groups=found))


def smaller_network(
    network: Network, groups: Groups, keep: "channels.Keep | Plan"
) -> Network:
    """A network without the units that are not kept: of its variables and its mask.

    Args:
      network: the network; one from which units have been removed has one plan in the
        end, in the coordinates of the whole.
      groups: from `groups_of`.
      keep: `{group: bool[size]}`, or a plan of the whole network.

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
    model = network.model
    if isinstance(keep, Plan):
        keep = keep.since(model.plan if isinstance(model, Smaller) else None)
    if isinstance(model, Smaller):
        small = replace(model, plan=model.plan.then(keep))
    else:
        small = Smaller(model, Plan.of(groups, keep), groups)
    both = dict(network.variables), network.mask
    return Network(small, *channels.remove(both, groups, keep))
