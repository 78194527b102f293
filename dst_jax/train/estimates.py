"""What hardware makes of a network: estimates on accelerators, masks of operands."""

import dataclasses
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from dst_jax import cost, data
from dst_jax.cost.estimates.estimate import Estimate, OpEstimate
from dst_jax.train.context import Context
from dst_jax.typing import Network, Variables

__all__ = ["EXAMPLES", "estimate", "operand_masks", "profiles"]

EXAMPLES = 8
"""Test images of an estimate; the masks of all their maps are in memory."""


def estimate(
    context: Context,
    network: Network,
    names: Sequence[str] | Mapping[str, cost.accelerators.Accelerator],
    *,
    examples: int = EXAMPLES,
) -> dict[str, Any]:
    """Estimates for the first test images on every accelerator, a line for each.

    Args:
      context: the run's data and devices.
      network: any network for this data.
      names: names that `cost.accelerators.create` takes, or accelerators by the words
        for them in tables.
      examples: number of images, at least 1.

    Returns:
      What `dst_jax.runs` calls `accelerators/STAGE.json`: per example, all numbers
      plain.

    Raises:
      ValueError: an unknown name, or two that would be called the same.
    """
    if not isinstance(names, Mapping):
        named = cost.accelerators.labels(names)
        names = {k: cost.accelerators.create(name) for k, name in named.items()}
    batch = next(iter(data.eval_batches(context.dataset.test, batch_size=examples)))
    machines = {}
    with context.console.bar("estimates", steps=len(names)) as advance:
        advance(0, f"operands on {len(batch.label)} images")
        found = profiles(context, context.with_model(network), batch.image)
        for i, (name, accelerator) in enumerate(names.items()):
            advance(i, name)
            machines[name] = _estimate(context, accelerator, found)
            cycles = machines[name]["total"]["cycles"]["total"]
            context.console.say(f"  {name}: {cycles:,.0f} cycles an image")
    return {"examples": len(batch.label), "machines": machines}


def operand_masks(
    context: Context,
    network: Network,
    *,
    images: int,
    info: Mapping[str, Any] | None = None,
) -> cost.workloads.MaskTraces:
    """The zeros of every layer's operands on the first test images, one at a time.

    Args:
      context: the run's data and devices.
      network: any network for this data.
      images: number of images, at least 1; all of them if there are fewer.
      info: texts and numbers that say what they are masks of.

    Raises:
      ValueError: `images` is below 1, or `cost.profile` cannot profile the network.
    """
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    taken = min(images, len(context.dataset.test))
    batch = next(iter(data.eval_batches(context.dataset.test, batch_size=taken)))
    network = context.with_model(network)
    found = []
    with context.console.bar("masks of images", steps=taken) as advance:
        for i, image in enumerate(np.asarray(batch.image)):
            advance(i, "")
            found.append(jax.device_get(profiles(context, network, image[None])))
    return cost.workloads.stack(found, info=info)


def profiles(
    context: Context, network: Network, images: ArrayLike
) -> OrderedDict[str, cost.OpProfile]:
    """The zeros of every operation, on one device, in evaluation mode.

    A mask is as large as its map, and a few images are enough.

    Args:
      context: the run's.
      network: the network, with its model.
      images: images (batch, ...) before preprocessing.
    """
    model = network.model

    def profiled(variables: Variables, images: Array) -> Any:
        def forward(variables: Variables, x: Array) -> Any:
            return model(variables, x, train=False, rngs=None)[0]

        return cost.profile(forward)(variables, context.preprocess(images))

    jitted = context.once(("profile", model), lambda: jax.jit(profiled))
    return jitted(jax.device_get(network.variables), images)


def _estimate(
    context: Context, accelerator: cost.accelerators.Accelerator, profiles: Any
) -> dict[str, Any]:
    jitted = context.once("estimate", lambda: jax.jit(cost.estimate))
    found: Estimate = jax.device_get(jitted(profiles, accelerator).per_example)
    bytes_per_cycle = accelerator.dram_bandwidth / accelerator.clock
    numbers = {
        field.name: getattr(accelerator, field.name)
        for field in dataclasses.fields(accelerator)
        if field.name != "energy"
    }
    return {
        "design": type(accelerator).__name__,
        "numbers": {key: np.asarray(value).item() for key, value in numbers.items()},
        "energy_table": found.table,
        "energy_unit": found.unit,
        "clock": float(accelerator.clock),
        "multipliers": float(accelerator.multipliers),
        "dram_bytes_per_cycle": float(bytes_per_cycle),
        "total": _operation(found.total),
        "layers": {key: _operation(op) for key, op in found.layers.items()},
    }


def _operation(op: OpEstimate) -> dict[str, Any]:
    return {
        "mode": op.mode,
        "bound": op.binds,
        "cycles": _numbers(op.cycles),
        "seconds": float(op.seconds),
        "utilisation": float(op.utilisation),
        "effectual_per_cycle": float(op.effectual_per_cycle),
        "macs": _numbers(op.macs),
        "bits": _numbers(op.bits),
        "dram_bits": float(op.dram_bits),
        "sram_bits": float(op.sram_bits),
        "energy": _numbers(op.energy),
    }


def _numbers(record: Any) -> dict[str, float]:
    return {name: float(value) for name, value in record._asdict().items()}
