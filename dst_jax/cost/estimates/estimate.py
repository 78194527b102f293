"""Estimates of cycles, traffic and energy of a network on an accelerator."""

import collections
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dst_jax.cost.accelerators.base import Accelerator
from dst_jax.cost.accelerators.work import Bits, Measured, Work
from dst_jax.cost.counting.op_profile import OpProfile
from dst_jax.cost.estimates import energy, traffic
from dst_jax.cost.estimates.energy import Actions, Number
from dst_jax.cost.estimates.estimate_result import (
    Cycles,
    Estimate,
    OpEstimate,
    total_of,
)

__all__ = ["Estimate", "OpEstimate", "estimate", "sweep"]


def estimate(
    counts: Mapping[str, Any],
    accelerator: Accelerator,
    *,
    examples: int | None = None,
) -> Estimate:
    """Cycles, storage, traffic and energy of every operation, and their sum.

    The function is pure. `jax.jit` needs no options, because an accelerator is a
    pytree; `jax.vmap` can run over the accelerator's numbers, and `sweep` does so in
    bounded memory. All results are float32: exact up to 2^24, with a relative error of
    at most 2^-22 for a larger number of one operation.

    The output of an operation is stored as in the profile, before the activation
    function. If the accelerator applies that function before it writes, replace
    `output` by the mask of the written array.

    Args:
      counts: profiles by operation, from `cost.profile(fn)(params, batch)`.
      accelerator: accelerator from `cost.accelerators`.
      examples: number of examples in the batch; by default the first axis of the first
        operation.

    Raises:
      TypeError: `counts` holds other values, such as the counts of `cost.count`.
      ValueError: there are no operations, or `examples` is below 1.

    >>> from dst_jax.cost import accelerators
    >>> ones = jnp.ones((32, 32), bool)
    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> profile = OpProfile(ones, ones, ones, Geometry())
    >>> found = estimate({"fc": profile}, accelerators.create("dense"))
    >>> found.layers["fc"].cycles.compute.item(), found.total.binds
    (32.0, 'dram')
    """
    examples = _check(counts, examples)
    return _estimate(_measure(counts, accelerator), accelerator, examples)


def sweep(
    counts: Mapping[str, Any],
    accelerator: Accelerator,
    *,
    examples: int | None = None,
    batch_size: int = 32,
) -> Estimate:
    """`estimate` for many configurations of one accelerator.

    The masks are reduced once for any number of configurations.

    Args:
      counts: profiles by operation, from `cost.profile(fn)(params, batch)`.
      accelerator: accelerator whose swept numbers are arrays of one length:
        `accelerators.create("scnn", kappa=jnp.linspace(1, 2, 10))`.
      examples: number of examples in the batch; by default the first axis of the first
        operation.
      batch_size: number of configurations at a time; it bounds the memory.

    Returns:
      An `Estimate` whose leaves have a leading axis over configurations.

    Raises:
      ValueError: no number is swept, or the arrays differ in length.

    >>> from dst_jax.cost import accelerators
    >>> from dst_jax.cost.counting.op_profile import Geometry
    >>> ones = jnp.ones((32, 32), bool)
    >>> profile = OpProfile(ones, ones, ones, Geometry())
    >>> many = accelerators.create("dense", rows=jnp.array([16, 32]))
    >>> swept = jax.eval_shape(lambda a: sweep({"fc": profile}, a), many)
    >>> swept.total.cycles.compute.shape
    (2,)
    """
    examples = _check(counts, examples)
    leaves, treedef = jax.tree.flatten(accelerator)
    swept = {i: jnp.asarray(x) for i, x in enumerate(leaves) if jnp.ndim(x)}
    lengths = {x.shape for x in swept.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise ValueError(
            "accelerator must hold arrays of one axis and one length to sweep, got "
            f"shapes {sorted(lengths)}"
        )
    measured = _measure(counts, accelerator)

    def one(values: dict[int, Any]) -> Estimate:
        numbers = [values.get(i, x) for i, x in enumerate(leaves)]
        return _estimate(measured, jax.tree.unflatten(treedef, numbers), examples)

    return lax.map(one, swept, batch_size=batch_size)


def _check(counts: Mapping[str, Any], examples: int | None) -> int:
    for name, op in counts.items():
        if not isinstance(op, OpProfile):
            raise TypeError(
                f"counts must hold the OpProfile of every operation, as cost.profile "
                f"returns them, got {type(op).__name__} for {name!r}"
            )
    if not counts:
        raise ValueError("counts must hold at least one operation, got none")
    number = next(iter(counts.values())).batch if examples is None else examples
    if number < 1:
        raise ValueError(f"examples must be at least 1, got {number}")
    return number


def _measure(
    counts: Mapping[str, Any], accelerator: Accelerator
) -> dict[str, tuple[Measured, Bits]]:
    """The masks reduced to sums that no swept number changes."""
    # Without its numbers: the sums must not depend on any of them.
    static = jax.tree.map(lambda _: None, accelerator)
    return {name: _measured(static, op) for name, op in counts.items()}


# Jitted: layers of one shape compile once, unless the caller jits the whole estimate.
@jax.jit
def _measured(accelerator: Accelerator, op: OpProfile) -> tuple[Measured, Bits]:
    return accelerator.measure(op), accelerator.storage(op)


def _estimate(
    measured: dict[str, tuple[Measured, Bits]],
    accelerator: Accelerator,
    examples: int,
) -> Estimate:
    layers = {name: _operation(*m, accelerator) for name, m in measured.items()}
    return Estimate(
        layers=collections.OrderedDict(layers),
        total=total_of(list(layers.values())),
        examples=examples,
        table=accelerator.energy.name,
        unit=accelerator.energy.unit,
    )


def _operation(measured: Measured, bits: Bits, accelerator: Accelerator) -> OpEstimate:
    work = accelerator.work(measured)
    dram_bits = traffic.dram(
        *bits,
        activation_buffer=8 * accelerator.activation_buffer,
        weight_buffer=8 * accelerator.weight_buffer,
    )
    sram_bits = traffic.sram(
        *bits,
        activation_reads=work.activation_reads,
        weight_reads=work.weight_reads,
        psums=jnp.float32(measured.shape.outputs)
        * accelerator.value_bits
        * work.psum_moves,
    )
    dram_bits_per_cycle = 8 * accelerator.dram_bandwidth / accelerator.clock
    dram_cycles = dram_bits / dram_bits_per_cycle
    sram_cycles = sram_bits / (8 * accelerator.sram_bandwidth)
    parts = work.cycles, dram_cycles, sram_cycles
    total = jnp.maximum(jnp.maximum(work.cycles, dram_cycles), sram_cycles)
    seconds = total / accelerator.clock
    actions = Actions(
        executed=work.executed,
        gated=work.gated,
        buffer_bits=sram_bits,
        dram_bits=dram_bits,
        seconds=seconds,
        idle=_idle(work),
        discarded=work.discarded,
        activation_accesses=work.activation_accesses,
        weight_accesses=work.weight_accesses,
        psum_accesses=work.psum_accesses,
        accumulator_accesses=work.accumulator_accesses,
        metadata_bits=work.metadata_bits,
        crossbar_bits=work.crossbar_bits,
    )
    numbers = OpEstimate(
        cycles=Cycles(*parts, total),
        seconds=seconds,
        macs=measured.macs,
        executed=work.executed,
        gated=work.gated,
        bits=bits,
        dram_bits=dram_bits,
        sram_bits=sram_bits,
        energy=energy.split(accelerator.energy, actions),
        multipliers=accelerator.multipliers,
        mode=measured.mode,
    )
    return jax.tree.map(jnp.float32, numbers)


def _idle(work: Work) -> Number:
    """Slots without a product; an expected number of cycles may be too small."""
    used = work.executed + work.gated + work.discarded
    return jnp.maximum(work.slots - used, 0)
