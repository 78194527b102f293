"""How strong a penalty is on every map: as what its nonzeros cost the accelerator."""

from collections.abc import Mapping

from dst_jax.train.per_layer.map_options import MapOptions
from dst_jax.train.per_layer.option_costs import OptionCosts
from dst_jax.train.per_layer.reading import Reading

__all__ = ["map_strengths"]


def map_strengths(
    options: MapOptions,
    found: Reading,
    costs: OptionCosts,
    weights: Mapping[str, int] | None = None,
) -> dict[str, float]:
    """A weight of every map for a penalty: the cost of one of its nonzeros.

    Where the loss plus a price times the cost is least, a nonzero is charged the price
    times what it costs. That is measured: what the layers that read the map save at the
    largest share, over the entries that become 0 there. The mean over the positive
    entries of all maps is 1, so that a strength means what it means without weights.

    Args:
      options: options of the maps.
      found: what the layers read.
      costs: costs of the layers.
      weights: numbers of options by layer that the layers have; 0 by default.

    Raises:
      ValueError: there is no threshold among the options, or no map saves anything.

    >>> import numpy as np
    >>> options = MapOptions((0.0, 0.5), (), {"relu1": (), "relu2": ()}, {}, {},
    ...                      {"relu1": 30.0, "relu2": 10.0})
    >>> found = Reading({}, {"fc2": ("relu1",), "fc3": ("relu2",)})
    >>> table = np.array([[60.0], [30.0]])
    >>> costs = OptionCosts({"fc2": table, "fc3": table}, {}, 0.0)
    >>> map_strengths(options, found, costs)
    {'relu1': 0.6666666666666666, 'relu2': 2.0}
    """
    share = max(options.shares)
    if not share:
        raise ValueError(
            "strengths by cost need thresholds among the options of maps, got"
            f" {options.texts[1:]}"
        )
    level = options.shares.index(share)
    chosen = weights or {}
    prices = dict.fromkeys(options.thresholds, 0.0)
    for layer, maps in found.maps.items():
        if maps:
            table, option = costs.layers[layer], chosen.get(layer, 0)
            saved = float(table[0, option] - table[level, option])
            removed = share * sum(options.positive[name] for name in maps)
            for name in maps:
                prices[name] += max(saved, 0.0) / removed
    total = sum(prices[name] * options.positive[name] for name in prices)
    if not total > 0:
        raise ValueError("strengths by cost need a map whose zeros save something")
    mean = total / sum(options.positive[name] for name in prices)
    return {name: price / mean for name, price in prices.items()}
