"""Where gates of a group's units multiply: in the last affine maps before readers.

A gate `g` of a unit shall make the map `x` of that unit `g x` wherever it is read,
which is what removal does at `g = 0`. From every product, sum or reduction over the
units we go back to the last parameters that are multiplied into `x` or added to it:
kernel and bias, or scale and bias of a normalisation. Each takes the gate, once.

A normalisation behind a gate would divide it out again. So where one has a scale, that
takes the gate, and nothing before it may; where it has none, or its statistics read the
units together (LayerNorm), the group has no place for gates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dst_jax.channels.gates.live_groups import LiveGroups
from dst_jax.channels.gates.search import Reader, Refused, Search
from dst_jax.channels.partition import Group, Partition
from dst_jax.channels.reasons import Reason
from dst_jax.channels.value_graph import ValueGraph

__all__ = ["with_gates"]

UNREAD = Reason("group", "", "nothing reads its units")


def with_gates(
    graph: ValueGraph, found: Partition, paths: Mapping[int, str]
) -> dict[str, Group]:
    """The groups, each of which says which of its members gates multiply, or why not.

    Args:
      graph: the operations of a traced function.
      found: its groups.
      paths: by number of an input, the path of the leaf of the weights that it is.

    >>> import numpy as np
    >>> from dst_jax import channels
    >>> w = {"a": np.ones((3, 4)), "b": np.ones((4, 2))}
    >>> net = lambda w, x: x @ w["a"] @ w["b"]
    >>> group = channels.groups(net)(w, np.ones((1, 3)))["a"]  # asks this
    >>> [group.members[i][:2] for i in group.gates]
    [('a', 1)]
    """
    known = LiveGroups(graph, found, paths)
    readers: dict[int, list[Reader]] = {}
    for operation in graph.operations:
        read = zip(operation.operands, operation.read, strict=False)
        both = [(x, axes) for x, axes in read if axes]
        data = [(x, axes) for x, axes in both if x.carriers is not None]
        reader = Reader(operation, tuple(data or both[:1]))
        for group in {number for x, axes in both for number in known.on(x, axes)}:
            readers.setdefault(group, []).append(reader)
    return {
        name: _gated(known, group, number, readers.get(number, ()))
        for number, (name, group) in enumerate(found.groups.items())
    }


def _gated(
    known: LiveGroups, group: Group, number: int, readers: Sequence[Reader]
) -> Group:
    if not readers:
        return replace(group, ungated=UNREAD)
    axes = [(path, axis) for path, axis, _ in group.members]
    search = Search(known, number, set(axes))
    try:
        places = search.find(readers)
    except Refused as refused:
        return replace(group, ungated=refused.reason)
    gates = tuple(i for i, axis in enumerate(axes) if axis in places)
    return replace(group, gates=gates)
