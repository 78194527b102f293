"""Bits of the tensors at the end of a stage, read from storage/NAME.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["StoredTensor", "stored_tensors"]


@dataclass(frozen=True)
class StoredTensor:
    """One tensor in every storage format.

    Attributes:
      kind: "weight", or "map" of activations.
      name: path of the leaf or of the map.
      elements: number of elements; of a map, over all examples.
      nonzeros: number of those that are not zero.
      bits: bits by format.
      format: smallest format.
      value_bits: bits of a value.
      examples: images that a map is of.
    """

    kind: str
    name: str
    elements: int
    nonzeros: int
    bits: Mapping[str, int]
    format: str
    value_bits: int
    examples: int

    @property
    def fewest(self) -> int:
        """Bits in the smallest format.

        >>> bits = {"dense": 64, "csr": 30}
        >>> StoredTensor("map", "relu", 8, 1, bits, "csr", 8, 1).fewest
        30
        """
        return self.bits[self.format]


def stored_tensors(record: Mapping[str, Any]) -> tuple[StoredTensor, ...]:
    """The tensors of storage/NAME.json, in its order.

    Args:
      record: object of the file.

    >>> stored_tensors({"value_bits": 16, "examples": 8, "tensors": []})
    ()
    """
    return tuple(
        StoredTensor(
            kind=str(tensor["kind"]),
            name=str(tensor["name"]),
            elements=int(tensor["elements"]),
            nonzeros=int(tensor["nonzeros"]),
            bits={name: int(bits) for name, bits in tensor["bits"].items()},
            format=str(tensor["smallest"]),
            value_bits=int(record["value_bits"]),
            examples=int(record["examples"]),
        )
        for tensor in record["tensors"]
    )
