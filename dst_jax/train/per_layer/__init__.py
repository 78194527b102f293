"""The sparsity of every layer for a budget: options, what they lose and cost, a choice.

    calibration.py   the examples that everything is measured on
    layer_options.py masks to choose from, and the network of a choice
    map_options.py   thresholds and N:M patterns of maps to choose from
    reading.py       which operations a layer computes, which maps it reads
    option_losses.py loss increases, measured
    predictions.py   loss increases from gradients, and by FLOP-matched dropout
    option_costs.py  multiplications, bytes, cycles or energy, with measured masks
    map_strengths.py how strong a penalty is on every map, by what its nonzeros cost
    layer_choices.py the two arrays of `dst_jax.allocation`, and a choice as options
    rivals.py        one sparsity or one threshold for all layers, at the same cost

Losses are added over layers, which is a model: measure the chosen network again.
"""

from dst_jax.train.per_layer.calibration import Calibration, calibration
from dst_jax.train.per_layer.layer_choices import Item, LayerChoices, layer_choices
from dst_jax.train.per_layer.layer_options import (
    LayerOptions,
    WeightOption,
    layer_options,
    weight_option,
)
from dst_jax.train.per_layer.map_options import MapOptions, share_or_pattern
from dst_jax.train.per_layer.map_strengths import map_strengths
from dst_jax.train.per_layer.option_costs import (
    MEASURES,
    OptionCosts,
    option_costs,
    total_cost,
)
from dst_jax.train.per_layer.option_losses import (
    OptionLosses,
    mean_loss,
    option_losses,
)
from dst_jax.train.per_layer.predictions import (
    dropout_losses,
    predicted_losses,
)
from dst_jax.train.per_layer.reading import Reading, reading
from dst_jax.train.per_layer.rivals import RULES, rival

__all__ = [
    "MEASURES",
    "RULES",
    "Calibration",
    "Item",
    "LayerChoices",
    "LayerOptions",
    "MapOptions",
    "OptionCosts",
    "OptionLosses",
    "Reading",
    "WeightOption",
    "calibration",
    "dropout_losses",
    "layer_choices",
    "layer_options",
    "map_strengths",
    "mean_loss",
    "option_costs",
    "option_losses",
    "predicted_losses",
    "reading",
    "rival",
    "share_or_pattern",
    "total_cost",
    "weight_option",
]
