"""What every option costs: the layer's operations with its measured masks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from dst_jax import checks, cost
from dst_jax.cost.accelerators import Accelerator
from dst_jax.train.context import Context
from dst_jax.train.estimates import profiles
from dst_jax.train.per_layer.layer_options import LayerOptions
from dst_jax.train.per_layer.reading import Reading
from dst_jax.typing import Network

__all__ = ["MEASURES", "OptionCosts", "option_costs", "total_cost"]

MEASURES = ("cycles", "energy", "bytes", "multiplications")
"""What a cost may be: of the accelerator, DRAM traffic, or products of two nonzeros."""

_Profiles = Mapping[str, cost.OpProfile]
_At = Callable[[Mapping[str, int], Mapping[str, int]], _Profiles]
"""From a choice of options to the profiles of the network."""


class OptionCosts(NamedTuple):
    """Costs of one example.

    Attributes:
      layers: by layer, the cost of its operations, (levels, options); `inf` where the
        layer does not have the option, or one of its maps not the level.
      multiplications: by layer, the products of its operations without zeros in the
        padding, whatever is 0.
      fixed: cost of the operations that have no options.
    """

    layers: Mapping[str, Float[np.ndarray, "levels options"]]
    multiplications: Mapping[str, float]
    fixed: float


def option_costs(
    context: Context,
    options: LayerOptions,
    found: Reading,
    images: ArrayLike,
    accelerator: Accelerator,
    *,
    measure: str = "cycles",
) -> OptionCosts:
    """What every layer costs with every option and every level of the maps it reads.

    The masks are measured: those of the weights with the option, those of the input
    with the level of the layer's own maps alone, those of the output with the weights
    as they are.

    Args:
      context: the run's.
      options: options of a network.
      found: what the layers compute and read.
      images: images (batch, ...) that costs are the mean of, before preprocessing.
      accelerator: accelerator from `cost.accelerators`.
      measure: one of `MEASURES`.

    Raises:
      ValueError: `measure` is unknown.
    """
    checks.one_of("measure", measure, MEASURES)
    number = np.shape(images)[0]

    def at(weights: Mapping[str, int], levels: Mapping[str, int]) -> _Profiles:
        return profiles(context, options.network_at(weights, levels), images)

    def price(op: cost.OpProfile) -> float:
        return _operation_cost(context, op, accelerator, measure) / number

    start = at({}, {})
    pruned = [
        at({k: i for k, masks in options.masks.items() if masks[i] is not None}, {})
        for i in range(len(options.weights))
    ]
    layers = {}
    for name, own in found.operations.items():
        inputs = _inputs(options, found.maps[name], start, own, at)
        layers[name] = np.array(
            [
                [
                    sum(
                        price(replace(ops[key], weight=pruned[i][key].weight))
                        for key in own
                    )
                    if ops is not None and options.masks[name][i] is not None
                    else np.inf
                    for i in range(len(options.weights))
                ]
                for ops in inputs
            ]
        )
    with_options = {key for own in found.operations.values() for key in own}
    return OptionCosts(
        layers=layers,
        multiplications={
            name: sum(int(start[key].counts.valid) for key in own) / number
            for name, own in found.operations.items()
        },
        fixed=sum(price(op) for key, op in start.items() if key not in with_options),
    )


def total_cost(
    context: Context,
    network: Network,
    images: ArrayLike,
    accelerator: Accelerator,
    *,
    measure: str = "cycles",
) -> float:
    """What a network costs for one example, as `option_costs` measures it.

    Args:
      context: the run's.
      network: the network.
      images: images (batch, ...) that the cost is the mean of, before preprocessing.
      accelerator: accelerator from `cost.accelerators`.
      measure: one of `MEASURES`.

    Raises:
      ValueError: `measure` is unknown.
    """
    checks.one_of("measure", measure, MEASURES)
    operations = profiles(context, context.with_model(network), images).values()
    parts = [_operation_cost(context, op, accelerator, measure) for op in operations]
    return sum(parts) / np.shape(images)[0]


def _inputs(
    options: LayerOptions,
    maps: Sequence[str],
    start: _Profiles,
    own: Sequence[str],
    at: _At,
) -> list[_Profiles | None]:
    """For every level, the layer's operations with their inputs at that level.

    None where one of the maps does not have it.
    """
    if not maps:
        return [start]
    found: list[_Profiles | None] = [start]
    for level in range(1, len(options.maps.texts)):
        if all(options.maps.has(name, level) for name in maps):
            ops = at({}, dict.fromkeys(maps, level))
            found.append({key: ops[key] for key in own})
        else:
            found.append(None)
    return found


def _operation_cost(
    context: Context, op: cost.OpProfile, accelerator: Accelerator, measure: str
) -> float:
    if measure == "multiplications":
        counted = context.once("count one", lambda: jax.jit(lambda op: op.counts))
        return float(int(counted(op).effectual))
    # One key and a static number of examples: operations of a shape share a program.
    program = context.once(
        "estimate one",
        lambda: jax.jit(lambda op, a: cost.estimate({"op": op}, a).total),
    )
    total = program(op, accelerator)
    if measure == "cycles":
        return float(total.cycles.total)
    return float(total.energy.total if measure == "energy" else total.dram_bits / 8)
