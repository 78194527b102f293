"""Energy per action, from published tables, and the energy of an operation by part.

    energy = executed * (mac + scratchpads) + gated * gate
           + buffer bits * e_buffer + DRAM bits * e_dram + seconds * static power

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

__all__ = ["Actions", "Energy", "EnergyTable", "create", "names", "of", "split"]

Number = Any
"""A number or, in a sweep, an array of them; JAX also puts placeholders here."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class EnergyTable:
    """The energy of every action. All numbers are leaves, so a sweep can vary them.

    Attributes:
      mac: energy of one multiplication and addition, in `unit`.
      gated: energy of a multiplier that idles for a cycle.
      activation_spad, weight_spad, psum_spad: energy of one access to the small memory
        next to the multiplier; a product makes one, one and two accesses.
      buffer: energy per bit from or to the on-chip buffer.
      dram: energy per bit of DRAM traffic.
      static_power: static (leakage) power in `unit` per picosecond: watts if the unit
        is pJ.
      name, unit, source: name of the table, unit of energy, source. Static.
    """

    mac: Number
    gated: Number = 0.0
    activation_spad: Number = 0.0
    weight_spad: Number = 0.0
    psum_spad: Number = 0.0
    buffer: Number
    dram: Number
    static_power: Number = 0.0
    name: str = dataclasses.field(metadata={"static": True})
    unit: str = dataclasses.field(default="pJ", metadata={"static": True})
    source: str = dataclasses.field(metadata={"static": True})


class Actions(NamedTuple):
    """Numbers of actions.

    Attributes:
      executed, gated: products computed, and multiplier slots kept idle.
      buffer_bits, dram_bits: bits moved.
      seconds: duration of the operation.
    """

    executed: Number
    gated: Number
    buffer_bits: Number
    dram_bits: Number
    seconds: Number


class Energy(NamedTuple):
    """Energy by part, in the table's unit.

    Attributes:
      mac: multiplications and additions.
      gated: idle multipliers.
      scratchpad: memories next to the multipliers.
      buffer: accesses to the on-chip buffer.
      dram: accesses to off-chip memory.
      static: static (leakage) energy.
    """

    mac: Float[Array, "..."] | float
    gated: Float[Array, "..."] | float
    scratchpad: Float[Array, "..."] | float
    buffer: Float[Array, "..."] | float
    dram: Float[Array, "..."] | float
    static: Float[Array, "..."] | float

    @property
    def total(self) -> Float[Array, "..."] | float:
        """The sum of the parts.

        >>> Energy(mac=3, gated=1, scratchpad=1, buffer=2, dram=9, static=0.5).total
        16.5
        """
        return sum(self)


_TABLES = {
    "horowitz45": EnergyTable(
        # Half precision: the table has neither 16-bit integers nor a register file.
        mac=1.1 + 0.4,
        buffer=10 / 64,
        dram=(1300 + 2600) / 2 / 64,
        name="horowitz45",
        source="Horowitz, ISSCC 2014, 45 nm: fp16 multiply 1.1 and add 0.4 pJ; 8 KB "
        "SRAM 10 pJ and DRAM 1300 to 2600 pJ per 64 bits (the middle is taken)",
    ),
    "eyeriss_rel": EnergyTable(
        mac=1.0,
        activation_spad=1.0,
        weight_spad=1.0,
        psum_spad=1.0,
        buffer=6 / 16,
        dram=200 / 16,
        name="eyeriss_rel",
        unit="MAC",
        source="Chen et al. (Eyeriss), 16-bit accesses relative to a MAC: register "
        "file 1, buffer 6, DRAM 200; traffic between PEs (2) is not modelled",
    ),
    "accelergy45_eyeriss": EnergyTable(
        mac=2.20,
        gated=0.066 + 0.006,
        activation_spad=0.197,
        weight_spad=0.710,
        psum_spad=0.253,
        buffer=(49.17 + 37.16) / 2 / 64,
        dram=512 / 64,
        name="accelergy45_eyeriss",
        source="Accelergy tables of the Sparseloop artifact (MICRO 2022, table 7 "
        "setup), 45 nm, 16 bits; a buffer access is the mean of read and write",
    ),
    "eyeriss_v1_fit": EnergyTable(
        mac=5.72,
        gated=0.60,
        buffer=5.47 / 8,
        dram=0.0,
        static_power=0.187,
        name="eyeriss_v1_fit",
        source="least squares over the 18 layers measured on the Eyeriss chip (JSSC "
        "2017, tables V and VI), without DRAM; predicts the chip, not its parts",
    ),
}


def names() -> tuple[str, ...]:
    """The tables that `create` knows.

    >>> names()
    ('horowitz45', 'eyeriss_rel', 'accelergy45_eyeriss', 'eyeriss_v1_fit')
    """
    return tuple(_TABLES)


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
    return dataclasses.replace(_TABLES[name], **overrides)


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
    spads = table.activation_spad + table.weight_spad + 2 * table.psum_spad
    return Energy(
        mac=actions.executed * table.mac,
        gated=actions.gated * table.gated,
        # A flag marks the zero, so gated products read no operand.
        scratchpad=actions.executed * spads,
        buffer=actions.buffer_bits * table.buffer,
        dram=actions.dram_bits * table.dram,
        static=actions.seconds * table.static_power * 1e12,
    )
