"""Why positions cannot be removed, or why their removal changes values."""

from typing import NamedTuple

__all__ = ["Reason"]


class Reason(NamedTuple):
    """What an operation does that fixes positions, or spoils values.

    Attributes:
      primitive: name of the primitive.
      path: path of the module that it is in.
      why: what it does.

    >>> print(Reason("sort", "head", "it sorts along the axis"))
    it sorts along the axis (sort in head)
    """

    primitive: str
    path: str
    why: str

    def __str__(self) -> str:
        where = f" in {self.path}" if self.path else ""
        return f"{self.why} ({self.primitive}{where})"
