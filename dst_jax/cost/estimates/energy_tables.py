"""Energies of actions from published tables, every number with its source.

A number that a table's source does not have is 0 in `energy.EnergyTable`: the action
costs nothing there.
"""

from collections.abc import Mapping
from typing import NamedTuple

from dst_jax.cost.provenance import NumberSource, Status

__all__ = ["TABLES", "TableNumbers"]


class TableNumbers(NamedTuple):
    """A table as its sources give it.

    Attributes:
      unit: unit of energy.
      source: where the table comes from, in one sentence.
      numbers: numbers by field of `energy.EnergyTable`.
    """

    unit: str
    source: str
    numbers: Mapping[str, NumberSource]


ARTIFACT = "Sparseloop artifact (MICRO 2022), energy reference table of"
TABLE7 = f"{ARTIFACT} table7_eyeriss_setup, 45 nm, 16 bits"
FIG15 = f"{ARTIFACT} fig15_stc_related_setup, int8, 45 nm"
FIG12 = f"{ARTIFACT} fig12_eyerissv2_pe_setup, int8, 45 nm"
HOROWITZ = (
    "Horowitz, ISSCC 2014, 45 nm (through Stillwater universal, generic_45nm.hpp)"
)
EYERISS = "Chen et al. (Eyeriss), relative to a multiplication of 16 bits"
CHIP = "least squares over the 18 layers measured on the Eyeriss chip, without DRAM"
LOIHI = "Davies et al., IEEE Micro 2018, table 2 (simulated before silicon, 14 nm)"

WIRE = NumberSource(
    0.121 * 0.5,
    "Keckler et al., IEEE Micro 2011, table 1, 40 nm (through notes in a public "
    "repository): 310 pJ for 256 bits and 10 mm; "
    "over half a millimetre, which is half the side of an element of SCNN (7.9 mm2 / "
    "64 at 16 nm) at 45 nm; chosen with SCNN's published energies in view",
    "assumed",
)
# Read and write, 2 KB in 16 banks, 8 bits.
BANKED = (1.65889 + 1.67589) / 2
POSITIONS = NumberSource(
    0.18108 / 4,
    f"{FIG15}, DSTC: a read of 4 bits of positions next to operands",
    "read",
)


def _numbers(
    source: str, status: Status = "read", **values: float
) -> dict[str, NumberSource]:
    """Numbers that have one source."""
    return {k: NumberSource(value, source, status) for k, value in values.items()}


TABLES: Mapping[str, TableNumbers] = {
    "horowitz45": TableNumbers(
        "pJ",
        "Horowitz, ISSCC 2014, 45 nm: fp16 multiply 1.1 and add 0.4 pJ; 8 KB SRAM 10 pJ"
        " and DRAM 1300 to 2600 pJ per 64 bits (the middle is taken)",
        # Half precision: the table has neither 16-bit integers nor a register file.
        _numbers(f"{HOROWITZ}: fp16 multiply and add", mac=1.1 + 0.4)
        | _numbers(f"{HOROWITZ}: 16 of 64 bits of 8 KB SRAM", accumulator=16 * 10 / 64)
        | _numbers(f"{HOROWITZ}: 64 bits of 8 KB SRAM", buffer=10 / 64)
        | _numbers(f"{HOROWITZ}: 64 bits, the middle", dram=(1300 + 2600) / 2 / 64)
        | {"crossbar": WIRE},
    ),
    "eyeriss_rel": TableNumbers(
        "MAC",
        "Chen et al. (Eyeriss), 16-bit accesses relative to a MAC: register file 1, "
        "between elements 2, buffer 6, DRAM 200",
        _numbers(
            f"{EYERISS}: register file 1",
            mac=1.0,
            activation_spad=1.0,
            weight_spad=1.0,
            psum_spad=1.0,
            metadata=1 / 16,
        )
        | _numbers(
            f"{EYERISS}: as a register file, between 1 and the buffer's 6",
            "assumed",
            accumulator=1.0,
        )
        | _numbers(f"{EYERISS}: between elements 2", crossbar=2 / 16)
        | _numbers(f"{EYERISS}: buffer 6", buffer=6 / 16)
        | _numbers(f"{EYERISS}: DRAM 200", dram=200 / 16),
    ),
    "accelergy45_eyeriss": TableNumbers(
        "pJ",
        "Accelergy tables of the Sparseloop artifact (MICRO 2022, table 7 setup), 45 "
        "nm, 16 bits; a buffer access is the mean of read and write",
        _numbers(
            TABLE7, mac=2.20, activation_spad=0.197, weight_spad=0.710, psum_spad=0.253
        )
        | _numbers(f"{TABLE7}: gated multiplier and weights", gated=0.066 + 0.006)
        | _numbers(f"{TABLE7}: gated multiplier", idle=0.066)
        | _numbers(
            f"{FIG15}, DSTC: 2 KB in 16 banks, the mean of read and write; twice for 16"
            " bits",
            "assumed",
            accumulator=2 * BANKED,
        )
        | {"metadata": POSITIONS, "crossbar": WIRE}
        | _numbers(
            f"{TABLE7}: mean of read and write of 4 words",
            buffer=(49.17 + 37.16) / 2 / 64,
        )
        | _numbers(f"{TABLE7}: 4 words", dram=512 / 64),
    ),
    "accelergy45_int8": TableNumbers(
        "pJ",
        "Accelergy tables of the Sparseloop artifact (MICRO 2022, fig. 15 setup: STC "
        "and DSTC), 45 nm, 8 bits",
        _numbers(FIG15, mac=0.5608, gated=0.01798, idle=0.01798)
        | _numbers(f"{FIG15}, STC: a word next to a multiplier", activation_spad=0.072)
        | _numbers(f"{FIG15}, STC: a word next to a multiplier", weight_spad=0.072)
        | _numbers(f"{FIG12}: 32 words of 20 bits", psum_spad=0.16654)
        | _numbers(
            f"{FIG15}, DSTC: 2 KB in 16 banks, the mean of read and write",
            accumulator=BANKED,
        )
        | {"metadata": POSITIONS, "crossbar": WIRE}
        | _numbers(
            f"{FIG15}: 512 bits of 256 KB, the mean of read and write",
            buffer=(285.71464 + 316.96744) / 2 / 512,
        )
        | _numbers(f"{FIG15}: 64 bits", dram=512 / 64),
    ),
    "eyeriss_v2_int8": TableNumbers(
        "pJ",
        "Accelergy table of an Eyeriss v2 element in the Sparseloop artifact (MICRO "
        "2022, fig. 12 setup), 45 nm, 8 bits; buffer and DRAM of its fig. 15",
        _numbers(FIG12, mac=0.5608, gated=0.01798, idle=0.01798)
        | _numbers(f"{FIG12}: 16 words", activation_spad=0.13003)
        | _numbers(f"{FIG12}: 192 words, a read", weight_spad=0.47678)
        | _numbers(f"{FIG12}: 32 words of 20 bits", psum_spad=0.16654)
        | _numbers(f"{FIG12}: 8 bits of the weights' positions", metadata=0.88442 / 8)
        | _numbers(
            f"{FIG15}: 512 bits of 256 KB, the mean of read and write",
            buffer=(285.71464 + 316.96744) / 2 / 512,
        )
        | _numbers(f"{FIG15}: 64 bits", dram=512 / 64)
        | _numbers(
            "eyeriss_v1_fit's 0.187 W of 168 elements, for 192: fitted to the rows of "
            "the first chip, not of this one",
            "assumed",
            static_power=0.187 * 192 / 168,
        ),
    ),
    "eyeriss_v1_fit": TableNumbers(
        "pJ",
        "least squares over the 18 layers measured on the Eyeriss chip (JSSC 2017, "
        "tables V and VI), without DRAM; predicts the chip, not its parts",
        _numbers(
            CHIP, mac=5.72, gated=0.60, buffer=5.47 / 8, dram=0.0, static_power=0.187
        ),
    ),
    "loihi": TableNumbers(
        "pJ",
        "Davies et al., IEEE Micro 2018, table 2: minimum energy of a synaptic "
        "operation, memory included, and energy of an update of a neuron",
        _numbers(f"{LOIHI}: energy per synaptic spike operation (min)", mac=23.6)
        | _numbers(f"{LOIHI}: energy per neuron update (active)", accumulator=81.0)
        | _numbers(
            f"{LOIHI}: included in the operation; weights and state stay in the cores",
            buffer=0.0,
            dram=0.0,
        ),
    ),
}
