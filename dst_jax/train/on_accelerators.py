"""What modelled accelerators make of a network, as records for the run directory."""

from collections.abc import Sequence
from typing import Any

import jax
from jax.typing import ArrayLike

from dst_jax import cost, data
from dst_jax.cost.estimates.estimate import Estimate, OpEstimate
from dst_jax.train.context import Context
from dst_jax.train.state import Weights

__all__ = ["EXAMPLES", "machines"]

EXAMPLES = 8
"""Test images that a machine is given; the masks of all their maps are in memory."""


def machines(
    context: Context,
    weights: Weights,
    names: Sequence[str],
    *,
    examples: int = EXAMPLES,
) -> dict[str, Any]:
    """Estimates for the first test images on every accelerator.

    Args:
      context: model and data.
      weights: the network.
      names: of `cost.accelerators`.
      examples: how many images, at least 1.

    Returns:
      What `dst_jax.runs` calls `accelerators/STAGE.json`: per example, all numbers
      plain.
    """
    batch = next(iter(data.eval_batches(context.dataset.test, batch_size=examples)))
    profiles = _profiles(context, weights, batch.image)
    return {
        "examples": len(batch.label),
        "machines": {name: _machine(context, name, profiles) for name in names},
    }


def _profiles(context: Context, weights: Weights, images: ArrayLike) -> Any:
    """On one device: a mask is as large as its map, and a few images are enough."""

    def profiled(variables: Any, images: Any) -> Any:
        def forward(variables: Any, x: Any) -> Any:
            return context.model.apply(variables, x, train=False)

        return cost.profile(forward)(variables, context.preprocess(images))

    params, model_state, _ = jax.device_get(weights)
    jitted = context.once("profile", lambda: jax.jit(profiled))
    return jitted({"params": params, **model_state}, images)


def _machine(context: Context, name: str, profiles: Any) -> dict[str, Any]:
    machine = cost.accelerators.create(name)
    jitted = context.once("estimate", lambda: jax.jit(cost.estimate))
    found: Estimate = jax.device_get(jitted(profiles, machine).per_example)
    return {
        "energy_table": found.table,
        "energy_unit": found.unit,
        "clock": float(machine.clock),
        "multipliers": float(machine.multipliers),
        "dram_bytes_per_cycle": float(machine.dram_bandwidth / machine.clock),
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
