"""The arrays of `dst_jax.allocation` for a network, and what a choice means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from dst_jax import allocation
from dst_jax.train.per_layer.option_costs import OptionCosts
from dst_jax.train.per_layer.option_losses import OptionLosses
from dst_jax.train.per_layer.reading import Reading

__all__ = ["Item", "LayerChoices", "layer_choices"]


@dataclass(frozen=True)
class Item:
    """Layers that read common maps, for which one option is chosen.

    Attributes:
      layers: names of the layers.
      maps: names of the maps that they read, which have one level.
      loss: increase of the loss with every option, (options,).
      cost: cost of the layers with every option, (options,).
      levels: number of the level of every option, (options,).
      weights: number of every layer's option, (options, layers).
    """

    layers: tuple[str, ...]
    maps: tuple[str, ...]
    loss: Float[np.ndarray, " options"]
    cost: Float[np.ndarray, " options"]
    levels: Int[np.ndarray, " options"]
    weights: Int[np.ndarray, "options layers"]


@dataclass(frozen=True)
class LayerChoices:
    """One option for every item.

    Attributes:
      items: the items.
      loss: increases of the loss, (items, options).
      cost: costs, (items, options); `inf` where an item has fewer options.
      fixed: cost of what has no options.
    """

    items: tuple[Item, ...]
    loss: Float[np.ndarray, "items options"]
    cost: Float[np.ndarray, "items options"]
    fixed: float

    def options_of(
        self, choice: Sequence[int] | Int[np.ndarray, " items"]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """The numbers of options by layer and of levels by map.

        Args:
          choice: number of the option of every item.

        >>> item = Item(("fc",), ("relu",), np.zeros(2), np.ones(2), np.array([0, 1]),
        ...             np.array([[0], [2]]))
        >>> table = np.ones((1, 2))
        >>> LayerChoices((item,), table, table, 0.0).options_of([1])
        ({'fc': 2}, {'relu': 1})
        """
        weights: dict[str, int] = {}
        levels: dict[str, int] = {}
        for item, option in zip(self.items, choice, strict=True):
            found = item.weights[option].tolist()
            weights |= dict(zip(item.layers, found, strict=True))
            levels |= dict.fromkeys(item.maps, int(item.levels[option]))
        return weights, levels

    def predicted(
        self, choice: Sequence[int] | Int[np.ndarray, " items"]
    ) -> tuple[float, float]:
        """The increase of the loss and the cost of a choice, `fixed` included.

        Args:
          choice: number of the option of every item.

        >>> loss, cost = np.array([[0.0, 2.0]]), np.array([[3.0, 1.0]])
        >>> LayerChoices((), loss, cost, 4.0).predicted([1])
        (2.0, 5.0)
        """
        rows = np.arange(len(self.loss)), np.asarray(choice)
        return float(self.loss[rows].sum()), float(self.cost[rows].sum()) + self.fixed


def layer_choices(
    found: Reading, losses: OptionLosses, costs: OptionCosts
) -> LayerChoices:
    """The choices of a network's layers, as `dst_jax.allocation` takes them.

    Layers that read a map in common are one item, as its level saves in all of them;
    so are maps that one layer reads. A single layer has every pair of an option and a
    level; of several layers, those on the convex hull for each level are kept.

    Args:
      found: what the layers read.
      losses: increases of the loss, measured or predicted.
      costs: costs of the layers.

    >>> found = Reading({"fc": ("fc",)}, {"fc": ("relu",)})
    >>> losses = OptionLosses({"fc": np.array([0, 1.0])}, {"relu": np.array([0, 0.5])})
    >>> table = np.array([[8.0, 4.0], [6.0, 3.0]])
    >>> costs = OptionCosts({"fc": table}, {"fc": 8.0}, 1.0)
    >>> made = layer_choices(found, losses, costs)
    >>> made.loss.tolist(), made.cost.tolist()
    ([[0.0, 1.0, 0.5, 1.5]], [[8.0, 4.0, 6.0, 3.0]])
    """
    items = tuple(
        _item(layers, maps, losses, costs) for layers, maps in _components(found.maps)
    )
    most = max((len(item.loss) for item in items), default=1)

    def padded(rows: Sequence[np.ndarray]) -> np.ndarray:
        filled = [np.pad(x, (0, most - len(x)), constant_values=np.inf) for x in rows]
        return np.stack(filled) if filled else np.zeros((0, most))

    return LayerChoices(
        items,
        padded([item.loss for item in items]),
        padded([item.cost for item in items]),
        costs.fixed,
    )


def _components(
    maps: Mapping[str, Sequence[str]],
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Layers and the maps that they read, joined where they have a map in common."""
    found: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for layer, own in maps.items():
        met = [one for one in found if set(one[1]) & set(own)]
        layers = tuple(name for one in met for name in one[0])
        read = dict.fromkeys([name for one in met for name in one[1]] + list(own))
        at = found.index(met[0]) if met else len(found)
        found = [one for one in found if one not in met]
        found.insert(at, ((*layers, layer), tuple(read)))
    return found


def _item(
    layers: tuple[str, ...],
    maps: tuple[str, ...],
    losses: OptionLosses,
    costs: OptionCosts,
) -> Item:
    tables = [costs.layers[name] for name in layers]
    lost = {
        level: sum((losses.maps[name][level] for name in maps), 0.0)
        for level in range(len(tables[0]))
        if all(np.isfinite(table[level]).any() for table in tables)
    }
    # An infinite loss is no option either.
    lost = {level: rise for level, rise in lost.items() if np.isfinite(rise)}
    parts = [_at_level(layers, level, losses, costs) for level in lost]
    loss = np.concatenate(
        [part.loss + rise for part, rise in zip(parts, lost.values(), strict=True)]
    )
    cost = np.concatenate([part.cost for part in parts])
    levels = np.repeat(list(lost), [len(part.loss) for part in parts])
    weights = np.concatenate([part.choices for part in parts])
    kept = np.isfinite(loss) & np.isfinite(cost)
    return Item(layers, maps, loss[kept], cost[kept], levels[kept], weights[kept])


def _at_level(
    layers: tuple[str, ...], level: int, losses: OptionLosses, costs: OptionCosts
) -> allocation.Combined:
    own = [losses.weights[name] for name in layers]
    prices = [
        np.where(np.isfinite(loss), costs.layers[name][level], np.inf)
        for name, loss in zip(layers, own, strict=True)
    ]
    if len(layers) > 1:
        return allocation.combined(own, prices)
    numbers = np.arange(len(own[0]))[:, None]
    return allocation.Combined(own[0], prices[0], numbers)
