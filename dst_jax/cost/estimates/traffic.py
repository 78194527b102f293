"""Bits that an operation moves between DRAM, the on-chip buffer and the multipliers.

An operand that does not fit its buffer is read again for every tile of the other one.
The cheaper of the two orders is taken:

    weight outside:      bits_w + bits_a * (1 if bits_a <= S_a else ceil(bits_w / S_w))
    activation outside:  bits_a + bits_w * (1 if bits_w <= S_w else ceil(bits_a / S_a))

and the output is written once. `one_pass` is a lower bound for every schedule; the
actual traffic depends on the schedule and may be several times larger.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from dst_jax.cost.estimates.energy import Number

__all__ = ["dram", "one_pass", "sram"]


def one_pass(activation: Number, weight: Number, output: Number) -> Number:
    """The bits of all arrays, each moved once.

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
    """The number of bits to and from DRAM.

    Args:
      activation, weight, output: bits of the arrays as they are stored.
      activation_buffer, weight_buffer: bits that fit on the chip.
      passes: numbers of reads of (activation, weight), if the schedule is known.

    >>> dram(100, 10, 50, activation_buffer=30, weight_buffer=20).item()
    160.0
    >>> dram(100, 40, 50, activation_buffer=30, weight_buffer=20).item()
    290.0
    """
    activation, weight = jnp.float32(activation), jnp.float32(weight)
    if passes is not None:
        return activation * passes[0] + weight * passes[1] + output
    # An operand is read at least once, even if the other one is empty.
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
    """The number of bits to and from the on-chip buffer.

    Args:
      activation, weight, output: bits of the arrays as they are stored.
      activation_reads: number of reads of the activation, one per tile of filters.
      weight_reads: number of reads of the weight, one per tile of output positions.
      psums: bits of partial sums to and from the buffer.

    >>> sram(100, 10, 50, activation_reads=2, weight_reads=3).item()
    280.0
    """
    reads = jnp.float32(activation) * activation_reads + weight * weight_reads
    return reads + output + psums
