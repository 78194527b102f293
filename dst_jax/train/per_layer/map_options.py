"""The options of every activation map: thresholds, and N of every M channels."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from dst_jax import activations, trees
from dst_jax.activations.tap import THRESHOLDS
from dst_jax.train.per_layer.calibration import Calibration
from dst_jax.typing import Network, Variables

__all__ = ["MapOptions", "map_options", "share_or_pattern"]


@dataclass(frozen=True)
class MapOptions:
    """What can be chosen for every map of a network: one level of each.

    The levels are shares, of which the first leaves a map as it is, and then patterns.

    Attributes:
      shares: shares of the positive entries of a map that become 0.
      patterns: N of every M neighbouring channels that are kept, such as "2:4".
      thresholds: by map, the threshold for every share.
      divided: by map, the patterns that it can have.
      own: by map, the pattern that it has in the network already, and keeps.
      positive: by map, the mean number of its positive entries.
    """

    shares: tuple[float, ...]
    patterns: tuple[str, ...]
    thresholds: Mapping[str, tuple[Array, ...]]
    divided: Mapping[str, tuple[str, ...]]
    own: Mapping[str, str]
    positive: Mapping[str, float]

    @property
    def texts(self) -> tuple[str, ...]:
        """What every level is called.

        >>> MapOptions((0.0, 0.5), ("2:4",), {}, {}, {}, {}).texts
        ('0', '0.5', '2:4')
        """
        return (*(f"{share:g}" for share in self.shares), *self.patterns)

    def has(self, name: str, level: int) -> bool:
        """Whether a map has a level: a pattern needs an M that divides its channels.

        Args:
          name: name of the map.
          level: number of the level.

        >>> options = MapOptions((0.0,), ("2:4",), {}, {"relu1": ("2:4",)}, {}, {})
        >>> options.has("relu1", 1), options.has("relu2", 1)
        (True, False)
        """
        pattern = self._pattern(level)
        return pattern is None or pattern in self.divided.get(name, ())

    def applied(self, variables: Variables, levels: Mapping[str, int]) -> Variables:
        """The variables of a network with a level for some maps.

        Patterns are put there if one is chosen: without any, the variables of all
        choices have one structure.

        Args:
          variables: variables of the network.
          levels: numbers of levels by map; 0 for the others.

        Raises:
          ValueError: a map does not have its level.

        >>> options = MapOptions((0.0,), ("2:4",), {}, {"relu1": ("2:4",)}, {}, {})
        >>> activations.patterns_of(options.applied({}, {"relu1": 1}))
        {'relu1': '2:4'}
        """
        for name, level in levels.items():
            if not self.has(name, level):
                raise ValueError(f"map {name} has no option {self.texts[level]}")
        if self.thresholds:
            variables = activations.with_thresholds(
                variables,
                {k: self._threshold(k, levels.get(k, 0)) for k in self.thresholds},
            )
        chosen = {k: self._pattern(level) for k, level in levels.items()}
        patterns = {k: text for k, text in chosen.items() if text is not None}
        if not patterns:
            return variables
        return activations.with_patterns(variables, {**self.own, **patterns})

    def changed(
        self,
        x: Float[Array, "batch *map channels"],
        name: str,
        thresholds: Sequence[Array],
    ) -> list[Float[Array, "batch *map channels"]]:
        """What a map is at every level, itself at those that it does not have.

        Args:
          x: the map as it is.
          name: its name.
          thresholds: its thresholds, one for every share.

        >>> options = MapOptions((0.0, 0.5), ("1:2",), {}, {"relu1": ("1:2",)}, {}, {})
        >>> x, cuts = jnp.array([[1.0, 3.0]]), list(jnp.array([0.0, 2.0]))
        >>> [y.tolist() for y in options.changed(x, "relu1", cuts)]
        [[[1.0, 3.0]], [[0.0, 3.0]], [[0.0, 3.0]]]
        """
        found = [jnp.where(x < threshold, 0, x) for threshold in thresholds]
        for level, pattern in enumerate(self.patterns, len(self.shares)):
            n, m = map(int, pattern.split(":"))
            fits = self.has(name, level)
            found.append(activations.keep_n_of_m(x, n, m) if fits else x)
        return found

    def _pattern(self, level: int) -> str | None:
        number = level - len(self.shares)
        return self.patterns[number] if number >= 0 else None

    def _threshold(self, name: str, level: int) -> Array:
        return self.thresholds[name][level if level < len(self.shares) else 0]


def share_or_pattern(text: str) -> float | str:
    """An option of a map by its text.

    Args:
      text: a share such as "0.5", or N:M such as "2:4".

    Raises:
      ValueError: it is neither.

    >>> share_or_pattern("0.5"), share_or_pattern("2:4")
    (0.5, '2:4')
    """
    if ":" in text:
        activations.with_patterns({}, {"map": text})  # which checks it
        return text
    try:
        share = float(text)
    except ValueError:
        share = math.nan
    if not 0 <= share < 1:
        raise ValueError(
            f"an option of a map must be a share in [0, 1) or N:M, got {text!r}"
        )
    return share


def map_options(
    network: Network, examples: Calibration, texts: Sequence[str]
) -> MapOptions:
    """The options of a network's maps.

    A threshold is the quantile of the map's positive entries on the first calibration
    batch; one that the network has already is its least. Maps without positive entries
    have no options.

    Args:
      network: the network.
      examples: calibration examples.
      texts: texts of options, see `share_or_pattern`; "0" comes first in any case.

    Raises:
      ValueError: an option is not valid, or the network has soft thresholds already.
    """
    found = list(map(share_or_pattern, texts))
    shares = dict.fromkeys([0.0, *(x for x in found if not isinstance(x, str))])
    patterns = dict.fromkeys(x for x in found if isinstance(x, str))
    own = activations.patterns_of(network.variables)
    empty = MapOptions(tuple(shares), tuple(patterns), {}, {}, own, {})
    if len(empty.texts) == 1:
        return empty
    soft = [
        name
        for name in trees.named_leaves(dict(network.variables.get(THRESHOLDS, {})))
        if name.endswith("/soft")
    ]
    if soft:
        raise ValueError(f"the network has soft thresholds already: {soft}")
    maps = jax.jit(lambda variables, x: network.model(variables, x)[1])(
        dict(network.variables), examples.images[0]
    )
    positive = {k: x[x > 0] for k, x in jax.device_get(maps).items()}
    least = activations.thresholds_of(network.variables)
    return MapOptions(
        shares=empty.shares,
        patterns=empty.patterns,
        thresholds={
            name: _thresholds(x, empty.shares, least.get(name, 0.0))
            for name, x in positive.items()
            if x.size
        },
        divided={
            name: tuple(
                p for p in patterns if maps[name].shape[-1] % int(p.split(":")[1]) == 0
            )
            for name, x in positive.items()
            if x.size and name not in own
        },
        own=own,
        positive={name: x.size / len(maps[name]) for name, x in positive.items()},
    )


def _thresholds(
    positive: np.ndarray, shares: Sequence[float], least: Any
) -> tuple[Array, ...]:
    least = jnp.asarray(least, jnp.float32)
    quantiles = np.quantile(positive.astype(np.float32), shares)
    return tuple(
        jnp.maximum(least, jnp.float32(q if share else 0))
        for share, q in zip(shares, quantiles, strict=True)
    )
