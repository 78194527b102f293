"""What modelled accelerators made of a stage, read from accelerators/NAME.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Machine", "Work", "machines"]


@dataclass(frozen=True)
class Work:
    """One operation on a machine, or all of them together; per image.

    Attributes:
      mode: "sparse", "mixed" or "dense: why".
      bound: what takes longest: "compute", "dram" or "sram".
      cycles: in all.
      seconds: in all.
      utilisation: the share of multiplier slots that are used while computing.
      dense: multiplications, with padding.
      effectual: multiplications whose operands are both nonzero.
      dram_bytes: moved.
      energy: by part, in the machine's unit.
    """

    mode: str
    bound: str
    cycles: float
    seconds: float
    utilisation: float
    dense: float
    effectual: float
    dram_bytes: float
    energy: Mapping[str, float]

    @property
    def effectual_per_cycle(self) -> float:
        """Useful multiplications per cycle, waiting for memory included."""
        return self.effectual / self.cycles if self.cycles else 0.0

    @property
    def intensity(self) -> float:
        """Useful multiplications per byte of DRAM traffic."""
        return self.effectual / self.dram_bytes if self.dram_bytes else 0.0


@dataclass(frozen=True)
class Machine:
    """One accelerator on one stage's network.

    Attributes:
      examples: images that the estimate is the mean of.
      multipliers: the most multiplications per cycle.
      dram_bytes_per_cycle: the most traffic per cycle.
      table: energies it was reckoned with, and their `unit`.
      total: all operations.
      layers: by operation, in order of execution.
    """

    examples: int
    multipliers: float
    dram_bytes_per_cycle: float
    table: str
    unit: str
    total: Work
    layers: Mapping[str, Work]


def machines(record: Mapping[str, Any]) -> dict[str, Machine]:
    """The machines of accelerators/NAME.json by name."""
    return {
        name: Machine(
            examples=int(record["examples"]),
            multipliers=float(found["multipliers"]),
            dram_bytes_per_cycle=float(found["dram_bytes_per_cycle"]),
            table=str(found["energy_table"]),
            unit=str(found["energy_unit"]),
            total=_work(found["total"]),
            layers={key: _work(layer) for key, layer in found["layers"].items()},
        )
        for name, found in record["machines"].items()
    }


def _work(record: Mapping[str, Any]) -> Work:
    return Work(
        mode=str(record["mode"]),
        bound=str(record["bound"]),
        cycles=float(record["cycles"]["total"]),
        seconds=float(record["seconds"]),
        utilisation=float(record["utilisation"]),
        dense=float(record["macs"]["dense"]),
        effectual=float(record["macs"]["effectual"]),
        dram_bytes=float(record["dram_bits"]) / 8,
        energy={part: float(value) for part, value in record["energy"].items()},
    )
