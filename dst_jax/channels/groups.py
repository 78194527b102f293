"""What shrinks together in a function: groups of units from a trace."""

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from dst_jax import trees
from dst_jax.channels.axis_units import AxisUnits, Bools, Ints
from dst_jax.channels.gates import with_gates
from dst_jax.channels.kept_positions import Keep, kept_positions
from dst_jax.channels.labelling import Labelling
from dst_jax.channels.leaf_units import leaf_units
from dst_jax.channels.partition import Group, Partition
from dst_jax.channels.reasons import Reason
from dst_jax.channels.relations import SplitSide
from dst_jax.jaxprs.dataflow import followed
from dst_jax.jaxprs.traced_function import TracedFunction, is_array, traced
from dst_jax.jaxprs.tracing import argument_positions, check_weights
from dst_jax.jaxprs.weight_labels import shape_of

__all__ = ["Groups", "groups"]

UnitLabel = tuple[str | None, int]
"""The group and the unit of a position; `(None, -1)` if it is of none."""

OUTPUT = Reason("output", "", "the function returns it")


class Groups(dict[str, Group]):
    """Groups by name.

    Attributes:
      shapes: the shape of every leaf of the traced argument, by path.
      fixed: by path and axis of a leaf, why positions cannot be removed.
      aux: by path of a leaf of the auxiliary output, for every axis the group and the
        unit of every position, or `(None, -1)`.
      split: which side of a split axis may lose positions, as `groups` was told.
    """

    def __init__(
        self,
        found: Mapping[str, Group],
        *,
        shapes: Mapping[str, tuple[int, ...]],
        fixed: Mapping[tuple[str, int], tuple[Reason, ...]],
        aux: Mapping[str, tuple[tuple[UnitLabel, ...], ...]],
        split: SplitSide = "outer",
    ):
        super().__init__(found)
        self.shapes = dict(shapes)
        self.fixed = dict(fixed)
        self.aux = dict(aux)
        self.split: SplitSide = split

    def explain(self) -> str:
        """Every group with its members, and what cannot be removed and why.

        >>> import jax.numpy as jnp
        >>> w = {"fc1": jnp.ones((4, 8)), "fc2": jnp.ones((8, 3))}
        >>> net = lambda w, x: x @ w["fc1"] @ w["fc2"]
        >>> print(groups(net)(w, jnp.ones((2, 4))).explain())
        fc1: 8 units, exact
          fc1 axis 1 produces
          fc2 axis 0 reads
        fixed: fc1 axis 0: ...
        fixed: fc2 axis 1: the function returns it (output)
        """
        lines: list[str] = []
        for group in self.values():
            kind = "exact" if group.exact else f"inexact: {group.inexact[0]}"
            kind += "" if group.needed else ", may vanish"
            lines.append(f"{group.name}: {group.size} units, {kind}")
            for (path, axis, _), role in zip(group.members, group.roles, strict=True):
                lines.append(f"  {path} axis {axis} {role}")
            if group.ungated is not None:
                lines.append(f"  no gates: {group.ungated}")
        for (path, axis), reasons in self.fixed.items():
            lines.append(f"fixed: {path} axis {axis}: {'; '.join(map(str, reasons))}")
        return "\n".join(lines)

    def after(self, keep: Keep) -> "Groups":
        """The groups of what is left, without another trace.

        Their units are numbered anew, in order. A group of which one unit is left stays
        a group of one; one of which nothing is left is gone.

        Args:
          keep: `{group: bool[size]}`; a group that it lacks stays whole.

        Raises:
          ValueError: as `channels.remove`.

        >>> import jax.numpy as jnp
        >>> w = {"fc1": jnp.ones((4, 8)), "fc2": jnp.ones((8, 3))}
        >>> found = groups(lambda w, x: x @ w["fc1"] @ w["fc2"])(w, jnp.ones((2, 4)))
        >>> left = found.after({"fc1": np.arange(8) < 3})
        >>> left["fc1"].size, left.shapes["fc2"]
        (3, (3, 3))
        """
        positions = kept_positions(self, keep)
        places = {name: _numbers(self[name].size, keep.get(name)) for name in self}
        found = {
            name: replace(
                group,
                size=int((places[name] >= 0).sum()),
                members=tuple(
                    (
                        path,
                        axis,
                        _renumbered(units, places[name], positions, path, axis),
                    )
                    for path, axis, units in group.members
                ),
            )
            for name, group in self.items()
            if (places[name] >= 0).any()
        }
        return Groups(
            found,
            shapes={
                path: tuple(
                    int(positions.get(path, {}).get(axis, np.ones(size, bool)).sum())
                    for axis, size in enumerate(shape)
                )
                for path, shape in self.shapes.items()
            },
            fixed=self.fixed,
            aux={
                path: tuple(_labels_left(labels, places) for labels in axes)
                for path, axes in self.aux.items()
            },
            split=self.split,
        )

    def extended(
        self, leaves: Mapping[str, tuple[tuple[int, ...], int, Sequence[UnitLabel]]]
    ) -> "Groups":
        """The groups with leaves of another tree that lose positions with them.

        Args:
          leaves: by path `(shape, axis, labels)`: the group and the unit of every
            position of the axis, as in `aux`.

        >>> group = Group("a", 2, (("a", 0, np.array([0, 1])),), ("produces",))
        >>> found = Groups({"a": group}, shapes={"a": (2,)}, fixed={}, aux={})
        >>> more = found.extended({"b": ((3, 2), 1, [("a", 1), ("a", 0)])})
        >>> more["a"].members[1][2].tolist()
        [1, 0]
        """
        found = dict(self)
        for path, (_, axis, labels) in leaves.items():
            for name in {group for group, _ in labels if group is not None}:
                units = np.array([unit if own == name else -1 for own, unit in labels])
                group = found[name]
                found[name] = replace(
                    group,
                    members=(*group.members, (path, axis, units)),
                    roles=(*group.roles, "reads"),
                )
        return Groups(
            found,
            shapes=self.shapes | {path: x for path, (x, _, _) in leaves.items()},
            fixed=self.fixed,
            aux=self.aux,
            split=self.split,
        )

    def only(self, names: Collection[str]) -> "Groups":
        """Some of the groups; positions of the others are labelled as of none.

        >>> group = Group("a", 1, (), ())
        >>> found = Groups({"a": group, "b": group}, shapes={}, fixed={}, aux={})
        >>> list(found.only(["b"]))
        ['b']
        """

        def label(own: UnitLabel) -> UnitLabel:
            return own if own[0] in names else (None, -1)

        return Groups(
            {name: group for name, group in self.items() if name in names},
            shapes=self.shapes,
            fixed=self.fixed,
            aux={
                path: tuple(tuple(map(label, labels)) for labels in axes)
                for path, axes in self.aux.items()
            },
            split=self.split,
        )


def groups(
    fn: Callable[..., Any],
    *,
    weights: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    split: SplitSide = "outer",
) -> Callable[..., Groups]:
    """A function that finds what shrinks together in `fn`; see `Groups`.

    Args:
      fn: function of arrays, or of pytrees of arrays: Linen, NNX, Equinox, Haiku or
        plain JAX.
      weights: positions of the arguments whose leaves may shrink.
      has_aux: whether `fn` returns `(output, aux)`, of which `aux` may shrink.
      split: which side of an axis that is split into several may lose positions where
        an operation needs one of them alone: the "outer" (whole heads of attention,
        whole groups of GroupNorm) or the "inner" one (the same positions in every head
        or group).

    Returns:
      A function of the arguments of `fn`, or of `jax.ShapeDtypeStruct`s in their place.
      Nothing is computed.

    Raises:
      TypeError: `weights` is no integer, nor integers.
      ValueError: `weights` names no argument, or one without arrays.

    >>> import jax.numpy as jnp
    >>> w = {"fc1": jnp.ones((4, 8)), "fc2": jnp.ones((8, 3))}
    >>> found = groups(lambda w, x: x @ w["fc1"] @ w["fc2"])(w, jnp.ones((2, 4)))
    >>> [(group.name, group.size) for group in found.values()]
    [('fc1', 8)]
    """
    positions = argument_positions(weights)

    @functools.wraps(fn)
    def found(*args: Any, **kwargs: Any) -> Groups:
        check_weights(positions, args)
        function = traced(fn, args, kwargs, positions)
        return _grouped(function, has_aux=has_aux, split=split)

    return found


def _numbers(size: int, kept: Any) -> Ints:
    """By unit its number among those that are kept, -1 if it is not.

    >>> _numbers(3, [True, False, True]).tolist()
    [0, -1, 1]
    """
    chosen = np.ones(size, bool) if kept is None else np.asarray(kept)
    return np.where(chosen, np.cumsum(chosen) - 1, -1)


def _renumbered(
    units: Ints,
    numbers: Ints,
    positions: Mapping[str, Mapping[int, Bools]],
    path: str,
    axis: int,
) -> Ints:
    """The units of the positions that are kept."""
    left = units[positions.get(path, {}).get(axis, np.ones(units.size, bool))]
    return np.where(left >= 0, numbers[left], -1)


def _labels_left(
    labels: tuple[UnitLabel, ...], numbers: Mapping[str, Ints]
) -> tuple[UnitLabel, ...]:
    """The groups and the units of the positions of an axis that are kept."""
    new = (
        (name, unit if name is None else int(numbers[name][unit]))
        for name, unit in labels
    )
    return tuple(label for label in new if label[0] is None or label[1] >= 0)


def _grouped(function: TracedFunction, *, has_aux: bool, split: SplitSide) -> Groups:
    start = leaf_units(function)
    labelling = Labelling(first=start.size, split=split)
    relations = labelling.relations
    results = followed(function.program, start.inputs, labelling)
    aux: dict[str, AxisUnits] = {}
    if has_aux:
        output, rest = function.results
        count = len(list(filter(is_array, jax.tree.leaves(output))))
        named = [n for n, leaf in trees.named_leaves(rest).items() if is_array(leaf)]
        aux = dict(zip(named, results[count:], strict=True))
        results = results[:count]
    labelling.branches.outputs(results)
    for block in (block for units in results for block in units.blocks):
        relations.fix(block.units, OUTPUT)
    components = relations.components()
    invars = function.program.jaxpr.invars
    shapes = {path: shape_of(invars[i]) for i, path in function.paths.items()}
    found = Partition.of(start.axes, relations, components)
    needed = labelling.branches.needed(components, found.place)
    gated = with_gates(labelling.graph, found, function.paths)
    return Groups(
        {name: replace(group, needed=needed[name]) for name, group in gated.items()},
        shapes=shapes,
        fixed=found.reasons(),
        aux={path: found.labels(units) for path, units in aux.items()},
        split=split,
    )
