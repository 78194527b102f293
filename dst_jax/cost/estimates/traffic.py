"""Bits that an operation moves between DRAM, the on-chip buffer and the multipliers.

An operand that does not fit its buffer is read again for every tile of the other one.
Which operand stays is a choice; the cheaper one is taken:

    weight outside:      bits_w + bits_a * (1 if bits_a <= S_a else ceil(bits_w / S_w))
    activation outside:  bits_a + bits_w * (1 if bits_w <= S_w else ceil(bits_a / S_a))

and the output is written once. `one_pass` is the lower bound that no schedule beats;
what a machine really moves depends on its schedule, and may be several times that.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

__all__ = ["dram", "one_pass", "sram"]

Number = Any
"""Anything that `jax.numpy` multiplies: bits may be floats, arrays or traced."""


def one_pass(activation: Number, weight: Number, output: Number) -> Number:
    """Every array moved once, in bits.

    >>> one_pass(3, 4, 5)
    12
    """
    return activation + weight + output


def dram(
    activation: Number,
    weight: Number,
    output: Number,
    *,
    activation_buffer: Number,
    weight_buffer: Number,
    passes: tuple[Number, Number] | None = None,
) -> Float[Array, "..."]:
    """Bits to and from DRAM.

    Args:
      activation, weight, output: bits of the arrays as they are stored.
      activation_buffer, weight_buffer: bits that fit on the chip.
      passes: how often (activation, weight) are read, where the schedule is known.

    >>> dram(100, 10, 50, activation_buffer=30, weight_buffer=20).item()
    160.0
    >>> dram(100, 40, 50, activation_buffer=30, weight_buffer=20).item()
    290.0
    """
    activation, weight = jnp.float32(activation), jnp.float32(weight)
    if passes is not None:
        return activation * passes[0] + weight * passes[1] + output
    # An operand is read at least once, also if the other one is empty.
    again_a = jnp.maximum(jnp.ceil(weight / weight_buffer), 1)
    again_w = jnp.maximum(jnp.ceil(activation / activation_buffer), 1)
    weight_outside = weight + activation * jnp.where(
        activation <= activation_buffer, 1, again_a
    )
    activation_outside = activation + weight * jnp.where(
        weight <= weight_buffer, 1, again_w
    )
    return jnp.minimum(weight_outside, activation_outside) + output


def sram(
    activation: Number,
    weight: Number,
    output: Number,
    *,
    activation_reads: Number,
    weight_reads: Number,
    psums: Number = 0,
) -> Float[Array, "..."]:
    """Bits to and from the on-chip buffer.

    Args:
      activation, weight, output: bits of the arrays as they are stored.
      activation_reads: once per tile of filters.
      weight_reads: once per tile of output positions.
      psums: bits of partial sums that go to the buffer and come back.

    >>> sram(100, 10, 50, activation_reads=2, weight_reads=3).item()
    280.0
    """
    reads = jnp.float32(activation) * activation_reads + weight * weight_reads
    return reads + output + psums
