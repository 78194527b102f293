"""Energy per action, from published tables, and the energy of an operation by part.

    energy = multiplications * mac + gated * gate + idle slots * idle
           + accesses of operands and partial sums * spads
           + accesses of banked accumulators * accumulator
           + bits of positions * metadata + bits through a crossbar * crossbar
           + buffer bits * buffer + DRAM bits * dram + seconds * static power

Absolute numbers of different tables differ by factors (Aladdin's 32-bit multiplier at
40 nm needs four times the energy of Horowitz' at 45 nm). So compare designs with one
table, and name it.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from dst_jax import checks
from dst_jax.cost.estimates.energy_tables import TABLES
from dst_jax.cost.provenance import NumberSource

__all__ = [
    "Actions",
    "Energy",
    "EnergyTable",
    "create",
    "names",
    "of",
    "sources",
    "split",
]

Number = Any
"""A number or, in a sweep, an array of them; JAX also puts placeholders here."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class EnergyTable:
    """The energy of every action. All numbers are leaves, so a sweep can vary them.

    Attributes:
      mac: energy of one multiplication and addition, in `unit`.
      gated: energy of a product that is kept from its multiplier.
      idle: energy of a multiplier in a cycle without a product.
      activation_spad, weight_spad, psum_spad: energy of one access to the small memory
        next to the multiplier, or to a bank of as few words.
      accumulator: energy of one access to banked accumulators of kilobytes.
      metadata: energy per bit of positions read next to the multipliers.
      crossbar: energy per bit that a crossbar routes.
      buffer: energy per bit from or to the on-chip buffer.
      dram: energy per bit of DRAM traffic.
      static_power: static (leakage) power in `unit` per picosecond: watts if the unit
        is pJ.
      name, unit, source: name of the table, unit of energy, source. Static.
    """

    mac: Number
    gated: Number = 0.0
    idle: Number = 0.0
    activation_spad: Number = 0.0
    weight_spad: Number = 0.0
    psum_spad: Number = 0.0
    accumulator: Number = 0.0
    metadata: Number = 0.0
    crossbar: Number = 0.0
    buffer: Number
    dram: Number
    static_power: Number = 0.0
    name: str = dataclasses.field(metadata={"static": True})
    unit: str = dataclasses.field(default="pJ", metadata={"static": True})
    source: str = dataclasses.field(metadata={"static": True})


class Actions(NamedTuple):
    """Numbers of actions.

    Attributes:
      executed, gated: useful products, and products kept from their multiplier.
      buffer_bits, dram_bits: bits moved.
      seconds: duration of the operation.
      idle: cycles of multipliers without a product.
      discarded: products that no output takes.
      activation_accesses, weight_accesses: reads of operands next to the multipliers;
        None = one for each executed product.
      psum_accesses: reads and writes of partial sums in small memories; None = two for
        each executed product.
      accumulator_accesses: reads and writes of banked accumulators.
      metadata_bits: bits of positions read next to the multipliers.
      crossbar_bits: bits routed.
    """

    executed: Number
    gated: Number
    buffer_bits: Number
    dram_bits: Number
    seconds: Number
    idle: Number = 0.0
    discarded: Number = 0.0
    activation_accesses: Number | None = None
    weight_accesses: Number | None = None
    psum_accesses: Number | None = None
    accumulator_accesses: Number = 0.0
    metadata_bits: Number = 0.0
    crossbar_bits: Number = 0.0


class Energy(NamedTuple):
    """Energy by part, in the table's unit.

    Attributes:
      mac: multiplications and additions.
      gated: products kept from their multiplier.
      scratchpad: memories next to the multipliers.
      buffer: accesses to the on-chip buffer.
      dram: accesses to off-chip memory.
      static: static (leakage) energy.
      idle: multipliers without a product.
      accumulator: banked accumulators.
      metadata: positions of nonzeros.
      crossbar: routing.
    """

    mac: Float[Array, "..."] | float
    gated: Float[Array, "..."] | float
    scratchpad: Float[Array, "..."] | float
    buffer: Float[Array, "..."] | float
    dram: Float[Array, "..."] | float
    static: Float[Array, "..."] | float
    idle: Float[Array, "..."] | float = 0.0
    accumulator: Float[Array, "..."] | float = 0.0
    metadata: Float[Array, "..."] | float = 0.0
    crossbar: Float[Array, "..."] | float = 0.0

    @property
    def total(self) -> Float[Array, "..."] | float:
        """The sum of the parts.

        >>> Energy(mac=3, gated=1, scratchpad=1, buffer=2, dram=9, static=0.5).total
        16.5
        """
        return sum(self)


def names() -> tuple[str, ...]:
    """The tables that `create` knows.

    >>> names()[:3]
    ('horowitz45', 'eyeriss_rel', 'accelergy45_eyeriss')
    """
    return tuple(TABLES)


def create(name: str, **overrides: Number) -> EnergyTable:
    """An energy table by name; overrides replace its numbers.

    Args:
      name: name of a table, from `names()`.
      **overrides: values for fields of the table, which should have a `name` of its
        own.

    Raises:
      ValueError: an unknown name or field.

    >>> create("horowitz45", dram=20.0).dram
    20.0
    """
    checks.one_of("energy table", name, names())
    known = [field.name for field in dataclasses.fields(EnergyTable)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise ValueError(f"a table has no {unknown}; it has {known}")
    found = TABLES[name]
    numbers = {key: number.value for key, number in found.numbers.items()}
    said = {"name": name, "unit": found.unit, "source": found.source}
    return EnergyTable(**numbers | said | overrides)


def sources(name: str) -> dict[str, NumberSource]:
    """Every number of a table with its source.

    Args:
      name: name of a table, from `names()`.

    Returns:
      Numbers by field. An action that the table's source says nothing about costs 0,
      and is "assumed".

    Raises:
      ValueError: an unknown name.

    >>> sources("loihi")["mac"].value, sources("loihi")["crossbar"].value
    (23.6, 0.0)
    """
    checks.one_of("energy table", name, names())
    lacking = NumberSource(0.0, "the table has no such number", "assumed")
    static = ("name", "unit", "source")
    return {
        field.name: TABLES[name].numbers.get(field.name, lacking)
        for field in dataclasses.fields(EnergyTable)
        if field.name not in static
    }


def of(value: Any, *, argument: str) -> EnergyTable:
    """An energy table, given as one, by name, or as a mapping of its fields.

    Args:
      value: the table; a mapping has `mac`, `buffer`, `dram`, `name` and `source` at
        least.
      argument: what errors call it.

    Raises:
      ValueError: an unknown name, a field that is missing, unknown or negative.
      TypeError: the value is nothing of that kind.

    >>> own = {"mac": 1.1, "buffer": 0.1, "dram": 20, "name": "own", "source": "28 nm"}
    >>> of(own, argument="energy").dram, of("eyeriss_rel", argument="energy").unit
    (20, 'MAC')
    """
    if isinstance(value, EnergyTable):
        return value
    if isinstance(value, str):
        return create(value)
    if not isinstance(value, Mapping):
        raise TypeError(
            f"{argument} must be the name of a table, {names()}, or a mapping of the"
            f" fields of one, got {value!r}"
        )
    fields = {field.name: field for field in dataclasses.fields(EnergyTable)}
    for key in value:
        checks.one_of(f"{argument}: a field", key, list(fields))
    lacks = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in value
    ]
    if lacks:
        raise ValueError(f"{argument} lacks {lacks}; a table has {list(fields)}")
    for key, number in value.items():
        if key in ("name", "unit", "source"):
            if not isinstance(number, str):
                raise TypeError(f"{argument}.{key} must be a text, got {number!r}")
        elif isinstance(number, bool | str) or not 0 <= number < math.inf:
            raise ValueError(
                f"{argument}.{key} must be >= 0 and finite, got {number!r}"
            )
    return EnergyTable(**value)


def split(table: EnergyTable, actions: Actions) -> Energy:
    """The energy of some actions, by part.

    >>> table = create("eyeriss_rel")
    >>> split(table, Actions(10, 2, 0, 16, 0.0)).dram
    200.0
    """
    accesses = (
        (actions.activation_accesses, 1, table.activation_spad),
        (actions.weight_accesses, 1, table.weight_spad),
        (actions.psum_accesses, 2, table.psum_spad),
    )
    # A flag marks the zero, so gated products read no operand.
    spads = sum(
        (actions.executed * each if number is None else number) * price
        for number, each, price in accesses
    )
    return Energy(
        mac=(actions.executed + actions.discarded) * table.mac,
        gated=actions.gated * table.gated,
        scratchpad=spads,
        buffer=actions.buffer_bits * table.buffer,
        dram=actions.dram_bits * table.dram,
        static=actions.seconds * table.static_power * 1e12,
        idle=actions.idle * table.idle,
        accumulator=actions.accumulator_accesses * table.accumulator,
        metadata=actions.metadata_bits * table.metadata,
        crossbar=actions.crossbar_bits * table.crossbar,
    )
