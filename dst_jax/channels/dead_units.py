"""Units that are constants, and their removal without any change of the outputs."""

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dst_jax import trees
from dst_jax.channels.axis_units import Bools
from dst_jax.channels.choices import Components
from dst_jax.channels.folding import Absences, Traced
from dst_jax.channels.folding.partial_values import known, unknown
from dst_jax.channels.groups import Groups
from dst_jax.channels.kept_positions import Keep, kept_positions
from dst_jax.channels.labelling import Labelling
from dst_jax.channels.leaf_units import LeafUnits, leaf_units
from dst_jax.channels.reasons import Reason
from dst_jax.channels.replay import Replay
from dst_jax.jaxprs.dataflow import followed
from dst_jax.jaxprs.traced_function import TracedFunction, is_array, traced
from dst_jax.jaxprs.tracing import argument_positions, check_weights

__all__ = ["Folded", "dead", "fold"]

Unit = tuple[str, int]
"""A unit: the name of its group and its number there."""

ALIVE = Reason("input", "", "it depends on the input")


class Folded(NamedTuple):
    """Variables that make up for units which are constants.

    Attributes:
      variables: whole arrays, from which `channels.remove` then removes the units.
      keep: by group, for every unit whether it is kept.
      refused: by group and unit, why a constant unit is kept all the same.
    """

    variables: Any
    keep: dict[str, Bools]
    refused: dict[str, dict[int, Reason]]


def dead(
    fn: Callable[..., Any], groups: Groups, *, weights: int = 0, has_aux: bool = False
) -> Callable[..., dict[str, Bools]]:
    """A function that finds the units that do not depend on the input.

    A unit is dead if its map is a constant wherever anything is computed from it: its
    BatchNorm has a scale of 0, or its kernel has been pruned; or if all weights that
    read it are 0.

    Args:
      fn: the function whose `groups` these are, as it is evaluated: in training, batch
        statistics make other units dead than running ones.
      groups: from `channels.groups`.
      weights: position of the argument that holds the variables.
      has_aux: whether `fn` returns `(output, aux)`.

    Returns:
      A function of the arguments of `fn`, the variables whole arrays, the others arrays
      or `jax.ShapeDtypeStruct`s: `{group: bool[size]}`.

    Raises:
      ValueError: a variable has another shape than that of the whole network.

    >>> from dst_jax import channels
    >>> net = lambda w, x: jax.nn.relu(x @ w["fc1"] + w["bias"][None]) @ w["fc2"]
    >>> w = {"fc1": jnp.ones((4, 3)).at[:, 1].set(0.0), "bias": jnp.ones(3)}
    >>> w, x = w | {"fc2": jnp.ones((3, 2))}, jnp.ones((1, 4))
    >>> dead(net, channels.groups(net)(w, x))(w, x)["fc1"].tolist()
    [False, True, False]
    """

    @functools.wraps(fn)
    def found(*args: Any, **kwargs: Any) -> dict[str, Bools]:
        search = _Search.of(fn, groups, weights, has_aux, args, kwargs)
        _, alive, _ = search.without(search.components)
        return {
            name: np.array([(name, i) not in alive for i in range(group.size)])
            for name, group in groups.items()
        }

    return found


def fold(
    fn: Callable[..., Any],
    groups: Groups,
    keep: Keep | None = None,
    *,
    weights: int = 0,
    has_aux: bool = False,
) -> Callable[..., Folded]:
    """A function that folds dead units into the parameters added behind them.

    What a dead unit adds to the layers that read it is a constant. The bias of such a
    layer takes it over, or the mean of the BatchNorm that follows. Then
    `channels.remove` removes the unit and no output changes. A dead unit is kept where
    that cannot be: it is not 0 and is read by a convolution whose window reaches beyond
    the edges, where zeros are added to the map; or no parameter is added to what reads
    it before an operation that is not linear.

    Args:
      fn: the function whose `groups` these are, as it is evaluated.
      groups: from `channels.groups`.
      keep: `{group: bool[size]}`, of which all that is not kept has to be folded; by
        default all dead units that can be are removed.
      weights: position of the argument that holds the variables.
      has_aux: whether `fn` returns `(output, aux)`, of which `aux` may change.

    Returns:
      A function of the arguments of `fn`, see `dead`.

    Raises:
      ValueError: a unit that `keep` does not keep is not dead, or cannot be folded; or
        as `dead`.

    >>> from dst_jax import channels
    >>> net = lambda w, x: jax.nn.relu(x @ w["a"]) @ w["b"] + w["bias"][None]
    >>> w = {"a": jnp.array([[1.0, 0.0]]), "b": jnp.ones((2, 1)), "bias": jnp.ones(1)}
    >>> groups = channels.groups(net)(w, jnp.ones((1, 1)))
    >>> variables, keep, refused = fold(net, groups)(w, jnp.ones((1, 1)))
    >>> keep, refused, channels.remove(variables, groups, keep)["b"].shape
    ({'a': array([ True, False])}, {}, (1, 1))
    """

    @functools.wraps(fn)
    def folded(*args: Any, **kwargs: Any) -> Folded:
        search = _Search.of(fn, groups, weights, has_aux, args, kwargs)
        if keep is None:
            return search.folded(args[weights])
        kept_positions(groups, keep)
        units = {
            (name, int(i))
            for name, kept in keep.items()
            for i in np.flatnonzero(~np.asarray(kept))
        }
        taken, alive, refused = search.without(units)
        for name, number in sorted({*alive, *refused}):
            why = ALIVE if (name, number) in alive else refused[name, number]
            raise ValueError(
                f"keep[{name!r}] must keep unit {number}, got False: {why}"
            )
        return Folded(search.corrected(args[weights], taken), search.keep(units), {})

    return folded


@dataclass(frozen=True)
class _Search:
    """A traced function, and the units of its groups.

    Attributes:
      groups: the groups.
      function: the traced function.
      start: units of its inputs.
      inputs: what is known of its inputs.
      labelling: has followed units through it.
      numbers: the components of all units.
      components: by unit that can be removed, its components.
      outputs: how many results may lack nothing.
    """

    groups: Groups
    function: TracedFunction
    start: LeafUnits
    inputs: Sequence[Traced]
    labelling: Labelling
    numbers: Components
    components: Mapping[Unit, tuple[int, ...]]
    outputs: int

    @classmethod
    def of(
        cls,
        fn: Callable[..., Any],
        groups: Groups,
        weights: int,
        has_aux: bool,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> "_Search":
        """Traces a function with these arguments."""
        check_weights(argument_positions(weights), tuple(args))
        function = traced(fn, args, kwargs, [weights])
        start = leaf_units(function)
        arrays = [x for x in jax.tree.leaves((args, dict(kwargs))) if is_array(x)]
        inputs = []
        for number, (array, units) in enumerate(zip(arrays, start.inputs, strict=True)):
            path = function.paths.get(number)
            if path is None:
                inputs.append(Traced(units, unknown(len(array.shape))))
                continue
            if array.shape != groups.shapes.get(path, array.shape):
                raise ValueError(
                    f"{path} must have its whole shape {groups.shapes[path]}, got"
                    f" {array.shape}"
                )
            inputs.append(Traced(units, known(array), leaf=number))
        labelling = Labelling(first=start.size, split=groups.split)
        followed(function.program, start.inputs, labelling)
        numbers = labelling.relations.components()
        output = function.results[0] if has_aux else function.results
        count = len(list(filter(is_array, jax.tree.leaves(output))))
        found = _components(groups, start, numbers)
        return cls(groups, function, start, inputs, labelling, numbers, found, count)

    def without(
        self, units: Any
    ) -> tuple[dict[int, np.ndarray], set[Unit], dict[Unit, Reason]]:
        """What parameters take over without these units, and what cannot be removed.

        Returns:
          By number of an input, what is added to it; units that depend on the input;
          and by dead unit that cannot be folded, why.
        """
        kept = np.ones(len(self.numbers.used), bool)
        owner: dict[int, Unit] = {}
        for unit in units:
            for component in self.components.get(unit, ()):
                kept[component], owner[component] = False, unit
        replay = Replay(self.labelling, self.numbers, kept)
        absences = Absences(replay, tuple(self.function.paths))
        results = followed(self.function.program, self.inputs, absences)
        absences.returned(results[: self.outputs])
        absences.finish()
        alive = {owner[n] for n in absences.alive}
        alive |= {unit for unit in units if unit not in self.components}
        refused = {owner[n]: why for n, why in absences.refused.items()}
        taken = {leaf: lack.number for leaf, lack in absences.taken.items()}
        return taken, alive, {u: why for u, why in refused.items() if u not in alive}

    def folded(self, variables: Any) -> Folded:
        """Without all units that can be folded."""
        units = set(self.components)
        kept: dict[Unit, Reason] = {}
        while True:
            taken, alive, refused = self.without(units)
            kept |= refused
            bad = {*alive, *refused} or self._needed(units, kept)
            if not bad:
                break
            units -= bad
        refused_by_group: dict[str, dict[int, Reason]] = defaultdict(dict)
        for (name, number), why in sorted(kept.items()):
            refused_by_group[name][number] = why
        corrected = self.corrected(variables, taken)
        return Folded(corrected, self.keep(units), dict(refused_by_group))

    def _needed(self, units: set[Unit], kept: dict[Unit, Reason]) -> set[Unit]:
        """The first unit of every group that would be emptied and may not be."""
        found: set[Unit] = set()
        for name, group in self.groups.items():
            why = group.needed or (group.inexact[0] if group.inexact else None)
            if why and all((name, i) in units for i in range(group.size)):
                found.add((name, 0))
                kept[name, 0] = why
        return found

    def keep(self, units: set[Unit]) -> dict[str, Bools]:
        """By group what is kept without these units."""
        return {
            name: np.array([(name, i) not in units for i in range(group.size)])
            for name, group in self.groups.items()
        }

    def corrected(self, variables: Any, taken: Mapping[int, np.ndarray]) -> Any:
        """The variables with what they take over."""
        number = {path: i for i, path in self.function.paths.items()}

        def of(path: str, leaf: Any) -> Any:
            if number.get(path) not in taken:
                return leaf
            change = jnp.asarray(taken[number[path]].reshape(leaf.shape), leaf.dtype)
            return leaf + change

        return trees.map_named(of, variables)


def _components(
    groups: Groups, start: LeafUnits, numbers: Components
) -> dict[Unit, tuple[int, ...]]:
    """By unit, its components, if none of them is fixed here."""
    found: dict[Unit, set[int]] = defaultdict(set)
    for name, group in groups.items():
        for path, axis, units in group.members:
            of = numbers.of(start.axes[path, axis])
            for unit, component in zip(units.tolist(), of.tolist(), strict=True):
                if unit >= 0:
                    found[name, unit].add(component)
    return {u: tuple(c) for u, c in found.items() if all(n > 0 for n in c)}
