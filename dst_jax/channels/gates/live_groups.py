"""Which groups have units along the axes of the values of a traced function."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from dst_jax.channels.axis_units import AxisUnits, Block, Ints
from dst_jax.channels.partition import Partition
from dst_jax.channels.value_graph import ValueGraph

__all__ = ["LiveGroups"]


@dataclass
class LiveGroups:
    """The operations of a function and its groups, which are numbered in their order.

    >>> from dst_jax.channels.axis_units import FIXED, new
    >>> from dst_jax.channels.relations import Relations
    >>> nothing = Partition.of({}, Relations(), Relations().components())
    >>> LiveGroups(ValueGraph(), nothing, {}).live(new((2,), FIXED), 0)
    False

    Attributes:
      graph: the operations.
      found: the groups.
      paths: by number of an input, the path of the leaf that it is.
    """

    graph: ValueGraph
    found: Partition
    paths: Mapping[int, str]
    _number: Ints = field(init=False)
    _known: dict[int, frozenset[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        order = {name: i for i, name in enumerate(self.found.groups)}
        self._number = np.full(len(self.found.components.used) + 1, -1)
        for component, (name, _) in self.found.place.items():
            self._number[component] = order[name]

    def on(self, x: AxisUnits, axes: Iterable[int]) -> frozenset[int]:
        """The groups along some axes of a value.

        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> from dst_jax.channels.relations import Relations
        >>> nothing = Partition.of({}, Relations(), Relations().components())
        >>> LiveGroups(ValueGraph(), nothing, {}).on(new((2,), FIXED), [0])
        frozenset()
        """
        found = [self.of_block(x.block(axis)) for axis in axes]
        return frozenset().union(*found)

    def live(self, x: AxisUnits, group: int) -> bool:
        """Whether a value has units of a group along any axis.

        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> from dst_jax.channels.relations import Relations
        >>> nothing = Partition.of({}, Relations(), Relations().components())
        >>> LiveGroups(ValueGraph(), nothing, {}).live(new((2,), FIXED), 0)
        False
        """
        return any(group in self.of_block(block) for block in x.blocks)

    def of_block(self, block: Block) -> frozenset[int]:
        """The groups whose units a block of the graph has.

        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> from dst_jax.channels.relations import Relations
        >>> nothing = Partition.of({}, Relations(), Relations().components())
        >>> known = LiveGroups(ValueGraph(), nothing, {})
        >>> known.of_block(new((2,), FIXED).block(0))
        frozenset()
        """
        key = id(block)  # the graph holds it, so that no other block has this number
        if key not in self._known:
            numbers: frozenset[int] = frozenset()
            if block.live:
                components = np.unique(self.found.components.of(block.units))
                of_units = self._number[components[components > 0]]
                numbers = frozenset(of_units[of_units >= 0].tolist())
            self._known[key] = numbers
        return self._known[key]

    def zero(self, x: AxisUnits, axes: Iterable[int], group: int) -> bool:
        """Whether a value is 0 where all parameters of a unit of the group are 0.

        >>> from dst_jax.channels.axis_units import FIXED, new
        >>> from dst_jax.channels.relations import Relations
        >>> nothing = Partition.of({}, Relations(), Relations().components())
        >>> LiveGroups(ValueGraph(), nothing, {}).zero(new((2,), FIXED), [0], 0)
        True
        """
        for axis in axes:
            block = x.block(axis)
            components = self.found.components.of(block.units)
            own = (self._number[components] == group) & (components > 0)
            if not block.zero[own].all():
                return False
        return True
