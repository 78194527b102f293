"""What modelled accelerators made of a stage, read from accelerators/NAME.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["AcceleratorRecord", "OperationRecord", "accelerator_records"]


@dataclass(frozen=True)
class OperationRecord:
    """One operation on an accelerator, or all of them together; per image.

    Attributes:
      mode: "sparse", "mixed" or "dense: why".
      bound: part that takes longest: "compute", "dram" or "sram".
      cycles: total cycles.
      seconds: total time.
      utilisation: share of the multiplier slots that are used while computing.
      dense: multiplications, with padding.
      effectual: multiplications whose operands are both nonzero.
      dram_bytes: DRAM traffic in bytes.
      energy: energy by part, in the accelerator's unit.
    """

    mode: str = "sparse"
    bound: str = "compute"
    cycles: float = 0.0
    seconds: float = 0.0
    utilisation: float = 0.0
    dense: float = 0.0
    effectual: float = 0.0
    dram_bytes: float = 0.0
    energy: Mapping[str, float] = field(default_factory=dict)

    @property
    def effectual_per_cycle(self) -> float:
        """Useful multiplications per cycle, waiting for memory included.

        >>> OperationRecord(cycles=100, effectual=300).effectual_per_cycle
        3.0
        """
        return self.effectual / self.cycles if self.cycles else 0.0

    @property
    def intensity(self) -> float:
        """Useful multiplications per byte of DRAM traffic.

        >>> OperationRecord(effectual=300, dram_bytes=64).intensity
        4.6875
        """
        return self.effectual / self.dram_bytes if self.dram_bytes else 0.0


@dataclass(frozen=True)
class AcceleratorRecord:
    """One accelerator on one stage's network.

    Attributes:
      examples: number of images that the estimate is the mean of.
      multipliers: largest number of multiplications per cycle.
      dram_bytes_per_cycle: largest DRAM traffic per cycle.
      table: table of energies that the estimate used.
      unit: unit of these energies.
      total: all operations together.
      layers: operations by name, in order of execution.
    """

    examples: int = 1
    multipliers: float = 1.0
    dram_bytes_per_cycle: float = 1.0
    table: str = ""
    unit: str = ""
    total: OperationRecord = field(default_factory=OperationRecord)
    layers: Mapping[str, OperationRecord] = field(default_factory=dict)


def accelerator_records(record: Mapping[str, Any]) -> dict[str, AcceleratorRecord]:
    """The accelerators of accelerators/NAME.json by name.

    Args:
      record: object of the file. Its key for the accelerators is `machines`, as in
        the first run directories.

    >>> accelerator_records({"examples": 8, "machines": {}})
    {}
    """
    return {
        name: AcceleratorRecord(
            examples=int(record["examples"]),
            multipliers=float(found["multipliers"]),
            dram_bytes_per_cycle=float(found["dram_bytes_per_cycle"]),
            table=str(found["energy_table"]),
            unit=str(found["energy_unit"]),
            total=_operation(found["total"]),
            layers={key: _operation(layer) for key, layer in found["layers"].items()},
        )
        for name, found in record["machines"].items()
    }


def _operation(record: Mapping[str, Any]) -> OperationRecord:
    return OperationRecord(
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
